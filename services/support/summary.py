"""What an agent reads first: the conversation, what it is about, and what the bot has tried."""

from collections.abc import Iterable
from dataclasses import dataclass

from support.conversation import Conversation, Evidence, Outcome, Suggestion, Turn
from support.knowledge import Language


@dataclass(frozen=True, slots=True)
class Summary:
    """The conversation up to the hand-off."""

    language: Language
    question: str
    """The one that it is about, as the customer put it."""
    evidence: Evidence | None = None
    """What the bot had for it; None where it has not tried."""
    turn_id: str = ""
    """The bot's turn on it, which an agent's correction is feedback on."""
    turns: tuple[Turn, ...] = ()
    tried_article_ids: tuple[str, ...] = ()
    """What the bot answered or asked back, in that order of turns."""

    @property
    def top_candidates(self) -> tuple[Suggestion, ...]:
        """What the bot had in mind for the question, best first."""
        return () if self.evidence is None else self.evidence.suggestions


def summarise(conversation: Conversation, evidence: Evidence | None = None, turn_id: str = "") -> Summary:
    """The summary of a conversation with at least one turn, which may be no more than the wish for a person.

    `evidence` is what the bot had for the last question, in its turn `turn_id`, where that is not said yet.
    """
    if evidence is None:
        about = next((each for each in conversation.bots if each.evidence is not None), None)
        evidence, turn_id = (about.evidence, about.turn_id) if about is not None else (None, "")
    return Summary(
        language=conversation.language,
        question=evidence.question if evidence is not None else conversation.turns[0].text,
        evidence=evidence,
        turn_id=turn_id,
        turns=conversation.turns,
        tried_article_ids=tuple(dict.fromkeys(_tried(conversation.turns))),
    )


def _tried(turns: Iterable[Turn]) -> Iterable[str]:
    for turn in turns:
        yield from (turn.article_id,) if turn.outcome is Outcome.ANSWER else turn.candidate_ids
