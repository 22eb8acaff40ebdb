"""The use case: one turn of a conversation. It reads like the picture in README.md."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from chassis.errors import Conflict, FailedPrecondition, InvalidField, Unavailable
from support import feedback, wording
from support.asking import Asked, NoneOfThese, Picked, Question, Reply, Said, WantsPerson
from support.calibration import Calibrations
from support.choice import NONE, chosen
from support.conversation import (
    FAILED_TURNS,
    Conversation,
    Evidence,
    Outcome,
    Speaker,
    Suggestion,
    Turn,
    Versions,
    customers_id,
    is_customers,
    no_conversation,
)
from support.courtesy import courtesy
from support.decision import Decision, combine, decide
from support.feedback import Feedback
from support.follow_up import is_follow_up
from support.handoff import Handoff, HandoffReason, HandoffState, requested
from support.knowledge import Candidate, Language, Retrieved, Scores, StageTime
from support.language import detect, read
from support.person import wants_person
from support.ports import Articles, ContextUnavailable, Conversations, Desk, FeedbackLog, Retriever

ATTEMPTS = 5
"""Turns that come at the same time are taken one after the other; one that others overtake so often is refused."""
SUGGESTIONS_KEPT = 5


@dataclass(frozen=True, slots=True)
class Move:
    """What the bot makes of what was said, before any of it is kept."""

    outcome: Outcome
    text: str
    evidence: Evidence | None = None
    article: Candidate | None = None
    candidates: tuple[Candidate, ...] = ()
    failed: bool = False
    hand_over: HandoffReason | None = None
    """A person is needed; without one, the rest is what the bot says."""
    told: Feedback | None = None
    """What a pick says about the question."""
    retrieved: Retrieved | None = None


@dataclass(frozen=True, slots=True)
class SoFar:
    """The conversation before this turn."""

    conversation: Conversation
    handoff: Handoff | None = None
    """The one that is open."""
    begins: bool = False
    degraded: tuple[str, ...] = ()


@dataclass(slots=True)
class Stages:
    """Takes the time of each stage."""

    taken: list[StageTime] = field(default_factory=list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measures its block."""
        started = time.perf_counter()
        yield
        self.taken.append(StageTime(name, (time.perf_counter() - started) * 1000.0))


class Dialogue:
    """The wish for a person, retrieval, decision; then an answer, a question back, "I do not know", or a person."""

    def __init__(
        self,
        retriever: Retriever,
        articles: Articles,
        calibrations: Calibrations,
        conversations: Conversations,
        desk: Desk,
        feedback_log: FeedbackLog,
        new_id: Callable[[], str],
    ) -> None:
        """`new_id` makes the ids of conversations, turns and hand-offs, which sort by the time they were made."""
        self._retriever = retriever
        self._articles = articles
        self._calibrations = calibrations
        self._conversations = conversations
        self._desk = desk
        self._feedback_log = feedback_log
        self._new_id = new_id

    async def ask(self, asked: Asked) -> Reply:
        """The bot's turn. Raises NotFound for a conversation that is not this customer's, Unavailable where a person is
        asked for and the desk is away, Conflict where too many other turns came at the same time.
        """
        stages = Stages()
        customers, bots = self._new_id(), self._new_id()
        for _ in range(ATTEMPTS):
            with stages("conversation"):
                so_far = await self._so_far(asked)
            language = _language(asked, so_far.conversation)
            said = Turn(customers, Speaker.CUSTOMER, _text(asked.said, so_far.conversation, language), asked.at)
            if so_far.handoff is not None:
                reply = await self._pass_on(said, so_far, so_far.handoff, language)
            else:
                move = await self._move(asked, so_far, language, stages)
                with stages("keeping"):
                    reply = await self._take(move, said, bots, so_far, language)
            if reply is not None:
                return replace(reply, stages=tuple(stages.taken))
        raise Conflict("conversation", asked.conversation_id, "other turns came at the same time: ask again")

    # The stages, in the order of the picture

    async def _so_far(self, asked: Asked) -> SoFar:
        """The conversation out of Redis and its hand-off out of PostgreSQL, each of which may be away."""
        if not asked.conversation_id:
            conversation_id = customers_id(self._new_id(), asked.tenant, asked.customer_id)
            return SoFar(self._begun(asked, conversation_id), begins=True)
        (kept, context_away), (handoff, desk_away) = await asyncio.gather(
            self._kept(asked.tenant, asked.conversation_id), self._handed(asked.tenant, asked.conversation_id)
        )
        # While Redis is away the id alone says whose it is: else a person would be fetched into somebody else's.
        known_by_id = context_away and is_customers(asked.conversation_id, asked.tenant, asked.customer_id)
        if kept is None and handoff is None and not known_by_id:
            raise no_conversation(asked.conversation_id)
        for owner in (kept, handoff):
            if owner is not None:
                _check_owner(owner, asked)
        conversation = kept or self._begun(asked, asked.conversation_id)
        if desk_away and (context_away or conversation.handed_over):
            raise Unavailable("the desk's database", "a person may have this conversation", retry_after_seconds=2.0)
        degraded = ("context",) * context_away + ("desk",) * desk_away
        open_one = handoff if handoff is not None and handoff.is_open else None
        return SoFar(conversation, open_one, degraded=degraded)

    async def _pass_on(self, said: Turn, so_far: SoFar, handoff: Handoff, language: Language) -> Reply | None:
        """A person has the conversation, and the bot is silent. None where that has just ended."""
        if handoff.state is HandoffState.REQUESTED:
            handoff = await self._desk.announce(handoff.tenant, handoff.handoff_id)
        now = await self._desk.say(handoff, said)
        if now is None:
            return None
        text = wording.passed_on(now, language)
        return Reply(
            now.conversation_id, said.turn_id, Outcome.HAND_OFF, text, language, handoff=now, degraded=so_far.degraded
        )

    async def _move(self, asked: Asked, so_far: SoFar, language: Language, stages: Stages) -> Move:
        """What the bot does, and whether a person is needed."""
        conversation = so_far.conversation
        said = _typed_choice(asked.said, conversation)
        if isinstance(said, WantsPerson) or (isinstance(said, Question) and wants_person(said.text)):
            return Move(Outcome.HAND_OFF, "", hand_over=HandoffReason.ASKED_FOR)
        if isinstance(said, Picked):
            move = self._picked(said, asked, so_far, language)
        elif isinstance(said, NoneOfThese):
            move = self._none_of_these(asked, so_far, language)
        else:
            move = await self._answered(said, asked, conversation, language, stages)
        failed = len(conversation.failed_in_a_row) + move.failed
        return replace(move, hand_over=HandoffReason.FAILED_TURNS) if move.failed and failed >= FAILED_TURNS else move

    async def _answered(
        self, question: Question, asked: Asked, conversation: Conversation, language: Language, stages: Stages
    ) -> Move:
        """Retrieves, decides, and says what was decided."""
        if not read(question.text, language).says_something:
            return Move(Outcome.OUT_OF_SCOPE, wording.no_words(language))
        if (polite := courtesy(question.text)) is not None:
            return Move(Outcome.OUT_OF_SCOPE, wording.in_kind(polite, language))
        context = conversation.topic if is_follow_up(question.text) else ""
        retrieved = await self._retrieve(question.text, context, asked, conversation, language)
        stages.taken.extend(retrieved.stages)
        with stages("decision"):
            calibration = self._calibrations.of(asked.base, language)
            decision = decide(retrieved, calibration.thresholds_in(retrieved.degraded))
        evidence = Evidence(
            question=question.text,
            language=language,
            context=context,
            suggestions=_suggestions(retrieved.candidates, language),
            confidence=decision.confidence,
            thresholds=decision.thresholds,
            versions=Versions(retrieved.encoders, retrieved.index, retrieved.reranker, calibration.version),
        )
        move = _said(decision, language)
        return replace(move, evidence=evidence, retrieved=retrieved)

    async def _retrieve(
        self, question: str, context: str, asked: Asked, conversation: Conversation, language: Language
    ) -> Retrieved:
        """The question as it is; a follow-up a second time, behind the question that it follows: both vote.

        What the earlier question has been answered with already has no vote from the context, which would find it
        behind "thank you" as well.
        """
        key = f"{asked.tenant}:{asked.customer_id or conversation.conversation_id}"

        async def retrieve(text: str, language: Language) -> Retrieved:
            return await self._retriever.retrieve(
                asked.base, text, language, now=asked.at, audiences=asked.audiences, request_key=key
            )

        if not context:
            return await retrieve(question, language)
        both = f"{context} {question}"
        raw, behind = await asyncio.gather(retrieve(question, language), retrieve(both, detect(both)))
        known = conversation.answers_to_topic
        new = tuple(each for each in behind.candidates if each.article.article_id not in known)
        return combine(raw, replace(behind, candidates=new))

    def _picked(self, said: Picked, asked: Asked, so_far: SoFar, language: Language) -> Move:
        """Answers with the article that was picked."""
        conversation = so_far.conversation
        turn = conversation.offering(said.article_id)
        if turn is None and "context" not in so_far.degraded:
            raise InvalidField("picked_article_id", "is none of the candidates that were asked back", said.article_id)
        article = self._articles.article(asked.base, said.article_id)
        if article is None or not article.may_answer(asked.at, asked.audiences):
            return Move(
                Outcome.OUT_OF_SCOPE, wording.no_longer_there(language), turn.evidence if turn else None, failed=True
            )
        evidence = None if turn is None else turn.evidence
        suggestion = None if evidence is None else evidence.suggestion(said.article_id)
        told = None if turn is None else feedback.picked(conversation, turn, said.article_id, asked.at)
        known = ("", Scores()) if suggestion is None else (suggestion.phrasing, suggestion.scores)
        candidate = Candidate(article, *known)
        return Move(Outcome.ANSWER, wording.answer(article, language), evidence, candidate, told=told)

    def _none_of_these(self, asked: Asked, so_far: SoFar, language: Language) -> Move:
        """None of what was asked back: there is no answer."""
        conversation = so_far.conversation
        turn = conversation.asked_back
        if turn is None:
            if "context" not in so_far.degraded:
                raise FailedPrecondition("none_of_these", "nothing was asked back in the turn before")
            return Move(Outcome.OUT_OF_SCOPE, wording.none_fits(language), failed=True)
        told = feedback.picked_none(conversation, turn, asked.at)
        return Move(Outcome.OUT_OF_SCOPE, wording.none_fits(language), turn.evidence, failed=True, told=told)

    async def _take(self, move: Move, said: Turn, turn_id: str, so_far: SoFar, language: Language) -> Reply | None:
        """Fetches a person where one is needed, and keeps the turn. None where another turn came first."""
        conversation, degraded = so_far.conversation, list(so_far.degraded)
        handoff: Handoff | None = None
        if move.hand_over is not None:
            asked_for = conversation.after(said, language=language)
            try:
                handoff = await self._desk.request(
                    requested(asked_for, move.hand_over, self._new_id(), said.at, move.evidence, turn_id)
                )
            except Unavailable:
                if move.hand_over is HandoffReason.ASKED_FOR:
                    raise
                degraded.append("desk")
                move = replace(move, text=wording.nobody_reachable(language))
            else:
                move = _handed_over(move, handoff, language)
        turn = _bots(move, turn_id, said.at)
        kept = conversation.after(said, turn, language=language)
        if "context" not in degraded:
            try:
                if not await self._conversations.save(kept):
                    return None
            except ContextUnavailable:
                degraded.append("context")
        if handoff is not None:
            handoff = await self._desk.announce(handoff.tenant, handoff.handoff_id)
        if move.told is not None and not await self._recorded(move.told):
            degraded.append("feedback")
        lost = so_far.begins and handoff is None and "context" in degraded
        return _reply(move, kept, turn, handoff, degraded, "" if lost else kept.conversation_id)

    # What the stages stand on

    def _begun(self, asked: Asked, conversation_id: str) -> Conversation:
        return Conversation(asked.tenant, conversation_id, asked.base.name, asked.customer_id)

    async def _kept(self, tenant: str, conversation_id: str) -> tuple[Conversation | None, bool]:
        """The conversation as it was kept, and whether the store is away."""
        try:
            return await self._conversations.load(tenant, conversation_id), False
        except ContextUnavailable:
            return None, True

    async def _handed(self, tenant: str, conversation_id: str) -> tuple[Handoff | None, bool]:
        """The conversation's newest hand-off, and whether the desk is away."""
        try:
            return await self._desk.newest(tenant, conversation_id), False
        except Unavailable:
            return None, True

    async def _recorded(self, given: Feedback) -> bool:
        try:
            await self._feedback_log.give(given)
        except Unavailable:
            return False
        return True


def _language(asked: Asked, conversation: Conversation) -> Language:
    """As asked for, else that of what is typed, else that of the turn before."""
    if asked.language is not None:
        return asked.language
    text = asked.said.text if isinstance(asked.said, Question) else ""
    return detect(text) if any(each.isalpha() for each in text) or not conversation.turns else conversation.language


def _text(said: Said, conversation: Conversation, language: Language) -> str:
    """What stands in the conversation for it."""
    if isinstance(said, Question):
        return said.text
    if isinstance(said, Picked):
        turn = conversation.offering(said.article_id)
        known = turn.evidence.suggestion(said.article_id) if turn is not None and turn.evidence is not None else None
        return said.article_id if known is None else known.title
    return wording.NONE_OF_THESE[language] if isinstance(said, NoneOfThese) else wording.A_PERSON_PLEASE[language]


def _typed_choice(said: Said, conversation: Conversation) -> Said:
    """A pick that was typed: where the bot has just asked back, "2" is no question."""
    turn = conversation.asked_back
    if not isinstance(said, Question) or turn is None or turn.evidence is None:
        return said
    titles = {each.article_id: each.title for each in turn.evidence.suggestions}
    choice = chosen(said.text, [titles.get(article_id, "") for article_id in turn.candidate_ids])
    if choice is None:
        return said
    return NoneOfThese() if choice == NONE else Picked(turn.candidate_ids[int(choice)])


def _suggestions(candidates: Sequence[Candidate], language: Language) -> tuple[Suggestion, ...]:
    return tuple(
        Suggestion(
            each.article.article_id, each.article.in_language(each.article.title, language), each.scores, each.phrasing
        )
        for each in candidates[:SUGGESTIONS_KEPT]
    )


def _said(decision: Decision, language: Language) -> Move:
    """The decision in words."""
    if decision.outcome == "answer":
        best = decision.candidates[0]
        return Move(Outcome.ANSWER, wording.answer(best.article, language), article=best)
    if decision.outcome == "clarify":
        articles = [each.article for each in decision.candidates]
        return Move(Outcome.CLARIFY, wording.clarify(articles, language), candidates=decision.candidates)
    return Move(Outcome.OUT_OF_SCOPE, wording.out_of_scope(language), failed=True)


def _handed_over(move: Move, handoff: Handoff, language: Language) -> Move:
    return replace(
        move,
        outcome=Outcome.HAND_OFF,
        text=wording.fetched(handoff, language),
        article=None,
        candidates=(),
        failed=False,
    )


def _bots(move: Move, turn_id: str, at: datetime) -> Turn:
    return Turn(
        turn_id,
        Speaker.BOT,
        move.text,
        at,
        move.outcome,
        move.article.article.article_id if move.article is not None else "",
        tuple(each.article.article_id for each in move.candidates),
        move.evidence,
        move.failed,
    )


def _reply(
    move: Move, kept: Conversation, turn: Turn, handoff: Handoff | None, degraded: Sequence[str], conversation_id: str
) -> Reply:
    retrieved = move.retrieved
    evidence = move.evidence
    return Reply(
        conversation_id=conversation_id,
        turn_id=turn.turn_id,
        outcome=move.outcome,
        text=move.text,
        language=kept.language,
        article=move.article,
        candidates=move.candidates,
        handoff=handoff,
        confidence=0.0 if evidence is None else evidence.confidence,
        thresholds=None if evidence is None else evidence.thresholds,
        versions=Versions() if evidence is None else evidence.versions,
        degraded=tuple(dict.fromkeys((*degraded, *(retrieved.degraded if retrieved else ())))),
        retrieved=retrieved.candidates if retrieved else (),
    )


def _check_owner(owner: Conversation | Handoff, asked: Asked) -> None:
    if owner.customer_id != asked.customer_id:
        raise no_conversation(asked.conversation_id)
    if owner.knowledge_base != asked.base.name:
        why = f"this conversation began with {owner.knowledge_base!r} and keeps to it"
        raise InvalidField("knowledge_base", why, asked.base.name)
