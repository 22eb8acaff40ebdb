"""What support consumes: changed articles into every replica's memory, feedback into labelled questions."""

import asyncio

from sqlalchemy import Engine

from casebook.support.v1 import events_pb2 as pb
from chassis import inbox, logs, telemetry
from chassis.database import transaction_blocking
from chassis.events import Event, PoisonMessage
from support.articles import article_of
from support.corpus import Bases, CorpusKeeper
from support.knowledge import LANGUAGES, Article, KnowledgeBase, LabelledQuestion
from support.said import MAX_QUESTION_CHARACTERS
from support.store import DATABASE, label, question_values

FEEDBACK_GROUP = "support.feedback"

_log = logs.logger(__name__)
_labels = telemetry.meter("casebook.support.feedback").create_counter(
    "casebook.support.labels", description="Feedback by what became of it: a label, or nothing to learn from."
)


class KnowledgeFeed:
    """The handler of `support.knowledge.v1` in every replica. Called from the follower's thread."""

    def __init__(self, bases: Bases, keeper: CorpusKeeper, loop: asyncio.AbstractEventLoop) -> None:
        self._bases = bases
        self._keeper = keeper
        self._loop = loop

    def handle(self, event: Event[pb.ArticleChanged]) -> None:
        """Hands the article to the event loop, which alone writes to the bases; an older revision changes nothing."""
        base = KnowledgeBase(event.envelope.tenant, event.message.knowledge_base)
        self._loop.call_soon_threadsafe(self._take, base, article_of(event.message.article), event.message.imported)

    def _take(self, base: KnowledgeBase, article: Article, imported: bool) -> None:
        if self._bases.put(base, article, imported=imported):
            self._keeper.wake()


class FeedbackLabels:
    """The handler of `support.feedback.v1`: what somebody thought of an answer labels its question."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def handle(self, event: Event[pb.FeedbackGiven]) -> None:
        """Labels the question, once for each event. A label that an operator has given stays. Raises Unavailable."""
        question = labelled(event.message)
        if question is None:
            _labels.add(1, {"outcome": "nothing to learn"})
            return
        base = KnowledgeBase(event.envelope.tenant, event.message.knowledge_base)
        with transaction_blocking(self._engine, DATABASE) as connection:
            if inbox.first_time(connection, FEEDBACK_GROUP, event.envelope.id):
                connection.execute(label(replacing="feedback"), question_values(base, [question]))
        _labels.add(1, {"outcome": "label"})


def labelled(feedback: pb.FeedbackGiven) -> LabelledQuestion | None:
    """What the feedback says of its question; None where it says nothing that can be fitted to: a follow-up means
    something behind another question alone.

    Raises PoisonMessage for what can never be a label.
    """
    language = next((each for each in LANGUAGES if each == feedback.language), None)
    if language is None:
        raise PoisonMessage(f"language: {feedback.language!r} is not spoken here")
    if not 1 <= len(feedback.question) <= MAX_QUESTION_CHARACTERS or not feedback.knowledge_base:
        raise PoisonMessage("question, knowledge_base: both are needed")
    if feedback.context:
        return None
    if feedback.correct_article_id or not feedback.in_scope:
        answer = feedback.correct_article_id or None
        return LabelledQuestion(feedback.question, language, answer, from_feedback=True)
    if feedback.answered_article_id:
        wrong = feedback.answered_article_id
        return LabelledQuestion(feedback.question, language, None, from_feedback=True, wrong_article_id=wrong)
    return None
