"""Follow-ups put to the dialogue that serves, over real retrieval: what its vote gains on the question alone, and on
the question rewritten."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NoReturn

import numpy as np

from chassis.errors import Unavailable
from support.asking import Asked, Picked, Question, Reply, Said
from support.calibration import Calibrations
from support.conversation import Conversation, Outcome, Turn
from support.decision import decide
from support.demo.follow_ups import KINDS, FollowUp, Kind
from support.dialogue import Dialogue
from support.feedback import Feedback
from support.follow_up import is_follow_up
from support.handoff import Handoff
from support.knowledge import Candidate, KnowledgeBase, Retrieved
from support.ports import Articles, Retriever
from support.training.workbench import NOW

IN_WORDS: dict[Kind, str] = {
    "stays": "on the topic",
    "same_article": "answered by the same article",
    "changes": "of another topic",
    "out_of_scope": "out of scope",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a follow-up."""

    follow_up: FollowUp
    opened: bool
    """The first question was answered by its article, which may have been picked from what was asked back."""
    alone: Retrieved
    """The follow-up as it is."""
    rewritten: Retrieved
    """The first question and the follow-up as one."""
    reply: Reply
    """The bot's turn, with the candidates of the vote."""
    served_alone: frozenset[str]
    """What would be answered or asked back by the follow-up alone."""

    @property
    def served(self) -> frozenset[str]:
        """What is answered or asked back."""
        return _ids((*([self.reply.article] if self.reply.article else ()), *self.reply.candidates))


@dataclass(frozen=True, slots=True)
class Share:
    """Of the follow-ups of a kind."""

    of: str
    measure: str
    n: int
    value: float
    floor: str = ""
    reach: str = ""


async def hear(
    retriever: Retriever,
    articles: Articles,
    calibrations: Calibrations,
    base: KnowledgeBase,
    follow_ups: Iterable[FollowUp],
) -> list[Heard]:
    """A conversation for each. Who is asked back with the article that the first question is about picks it."""
    numbers, nobody = count(), Nobody()
    dialogue = Dialogue(retriever, articles, calibrations, Memory(), nobody, nobody, lambda: str(next(numbers)))

    async def said(words: Said, follow_up: FollowUp, conversation_id: str = "") -> Reply:
        return await dialogue.ask(Asked(base, words, NOW, conversation_id, "customer", follow_up.language))

    heard = []
    for each in follow_ups:
        first = await said(Question(each.before), each)
        if each.about in _ids(first.candidates):
            first = await said(Picked(each.about), each, first.conversation_id)
        alone, rewritten = [
            await retriever.retrieve(base, text, each.language, now=NOW)
            for text in (each.question, f"{each.before} {each.question}")
        ]
        heard.append(
            Heard(
                follow_up=each,
                opened=first.article is not None and first.article.article.article_id == each.about,
                alone=alone,
                rewritten=rewritten,
                reply=await said(Question(each.question), each, first.conversation_id),
                served_alone=_ids(decide(alone, calibrations.of(base, each.language).thresholds).candidates),
            )
        )
    return heard


def shares(heard: Sequence[Heard]) -> Iterator[Share]:
    """Of each kind whose article comes first, and whose is served; of all, who got a wrong answer."""
    for kind in KINDS:
        those = [each for each in heard if each.follow_up.kind == kind]
        if not those:
            continue
        of, n = IN_WORDS[kind], len(those)
        taken = _mean(is_follow_up(each.follow_up.question) for each in those)
        yield Share(of, "the first answered by its article, at once or picked", n, _mean(each.opened for each in those))
        yield Share(of, "retrieved in its context as well", n, taken)
        if kind == "out_of_scope":
            alone, voted = _mean(bool(each.served_alone) for each in those), _mean(bool(each.served) for each in those)
            yield Share(of, "answered or asked back", n, voted, f"{alone:.4f} alone", "0")
            continue
        alone = _mean(_is_first(each.alone.candidates, each) for each in those)
        yield Share(of, "R@1 of the question alone", n, alone)
        rewritten = _mean(_is_first(each.rewritten.candidates, each) for each in those)
        yield Share(of, "R@1 of the question rewritten: behind the first, as one", n, rewritten)
        voted = _mean(_is_first(each.reply.retrieved, each) for each in those)
        yield Share(of, "R@1 of the vote, as served", n, voted, f"{alone:.4f} alone", "not below")
        alone = _mean(each.follow_up.article_id in each.served_alone for each in those)
        voted = _mean(each.follow_up.article_id in each.served for each in those)
        yield Share(of, "answered or asked back with its article", n, voted, f"{alone:.4f} alone", "not below")
    wrong = _mean(
        each.reply.outcome is Outcome.ANSWER and each.follow_up.article_id not in each.served for each in heard
    )
    yield Share("all", "answered with another article", len(heard), wrong, "", "0")


class Memory:
    """`ports.Conversations` of one process."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Conversation] = {}

    async def load(self, tenant: str, conversation_id: str) -> Conversation | None:
        """See `ports.Conversations`."""
        return self._kept.get((tenant, conversation_id))

    async def save(self, conversation: Conversation) -> bool:
        """See `ports.Conversations`: every turn is said after the one before."""
        self._kept[conversation.tenant, conversation.conversation_id] = conversation
        return True


class Nobody:
    """`ports.Desk` and `ports.FeedbackLog` where there are none: the bot goes on by itself, and says so."""

    async def newest(self, tenant: str, conversation_id: str) -> Handoff | None:
        """See `ports.Desk`."""
        return self._away()

    async def request(self, handoff: Handoff) -> Handoff:
        """See `ports.Desk`."""
        return self._away()

    async def announce(self, tenant: str, handoff_id: str) -> Handoff:
        """See `ports.Desk`."""
        return self._away()

    async def say(self, handoff: Handoff, turn: Turn) -> Handoff | None:
        """See `ports.Desk`."""
        return self._away()

    async def turns_with_people(self, tenant: str, conversation_id: str) -> tuple[Turn, ...]:
        """See `ports.Desk`."""
        return self._away()

    async def give(self, feedback: Feedback) -> None:
        """See `ports.FeedbackLog`."""
        self._away()

    def _away(self) -> NoReturn:
        raise Unavailable("the desk", "nobody stands behind a measurement", retry_after_seconds=1.0)


def _is_first(candidates: Sequence[Candidate], heard: Heard) -> bool:
    return bool(candidates) and candidates[0].article.article_id == heard.follow_up.article_id


def _ids(candidates: Iterable[Candidate]) -> frozenset[str]:
    return frozenset(each.article.article_id for each in candidates)


def _mean(holds: Iterable[bool]) -> float:
    return float(np.mean([float(each) for each in holds]))
