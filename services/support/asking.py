"""What a customer says to the bot in a turn, and what comes back."""

from dataclasses import dataclass
from datetime import datetime

from support.conversation import Outcome, Versions
from support.decision import Thresholds
from support.handoff import Handoff
from support.knowledge import Candidate, KnowledgeBase, Language, StageTime


@dataclass(frozen=True, slots=True)
class Question:
    """Something that the customer types."""

    text: str


@dataclass(frozen=True, slots=True)
class Picked:
    """The customer picks one of the candidates that were asked back."""

    article_id: str


@dataclass(frozen=True, slots=True)
class NoneOfThese:
    """The customer picks none of them."""


@dataclass(frozen=True, slots=True)
class WantsPerson:
    """The customer presses the button for a person."""


Said = Question | Picked | NoneOfThese | WantsPerson


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request."""

    base: KnowledgeBase
    said: Said
    at: datetime
    conversation_id: str = ""
    """Empty begins a conversation."""
    customer_id: str = ""
    language: Language | None = None
    """None: as detected."""
    audiences: frozenset[str] = frozenset()

    @property
    def tenant(self) -> str:
        """Whose customer asks."""
        return self.base.tenant


@dataclass(frozen=True, slots=True)
class Reply:
    """The bot's turn, and what it was made from."""

    conversation_id: str
    """Empty where nothing of the turn could be kept."""
    turn_id: str
    outcome: Outcome
    text: str
    language: Language
    article: Candidate | None = None
    """With an answer."""
    candidates: tuple[Candidate, ...] = ()
    """With what is asked back."""
    handoff: Handoff | None = None
    confidence: float = 0.0
    thresholds: Thresholds | None = None
    versions: Versions = Versions()  # noqa: RUF009 - frozen
    degraded: tuple[str, ...] = ()
    retrieved: tuple[Candidate, ...] = ()
    stages: tuple[StageTime, ...] = ()
