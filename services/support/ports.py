"""What the domain needs from outside. Each port has one real adapter, and a fake in the tests."""

from collections.abc import Sequence, Set
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from support.conversation import Conversation, Turn
from support.feedback import Feedback
from support.handoff import Handoff
from support.knowledge import Article, KnowledgeBase, Language, Retrieved

Float32Array = NDArray[np.float32]
DIMENSIONS = 384
"""Of every encoder's vectors."""


class ModelUnavailable(Exception):
    """The model server does not answer in time, or not as it should."""


class ContextUnavailable(Exception):
    """The store of conversations does not answer in time."""


class Encoder(Protocol):
    """Text to unit vectors, by language (encoding.py: through `inference`, vectors cached by text and model)."""

    async def encode(
        self, texts: Sequence[str], language: Language, *, version: str = "", request_key: str = ""
    ) -> tuple[Float32Array, str]:
        """Of questions: float32 [n, 384], rows of length 1, and "<model>/<version>" that made them; nothing is kept.

        `request_key` is what a canary's share sticks to; `version` asks for one, empty for the released one. Raises
        ModelUnavailable.
        """

    async def phrasings(self, texts: Sequence[str], language: Language, version: str) -> Float32Array:
        """Of what an index is made of: float32 [n, 384], rows of length 1, kept. Raises ModelUnavailable."""

    async def versions(self, language: Language) -> list[str]:
        """The versions that may answer now, oldest first. Raises ModelUnavailable."""


class Retriever(Protocol):
    """The knowledge base, asked (retrieval.py)."""

    async def retrieve(
        self,
        base: KnowledgeBase,
        question: str,
        language: Language,
        *,
        now: datetime,
        audiences: Set[str] = frozenset(),
        request_key: str = "",
        count: int = 10,
    ) -> Retrieved:
        """At most `count` articles that may answer, best first, with calibrated probabilities.

        Never raises for a model server that is away: then BM25 alone answers, and `degraded` says so.
        Raises NotFound for a knowledge base that is not there.
        """


class Articles(Protocol):
    """The articles of a knowledge base, by name (corpus.py)."""

    def article(self, base: KnowledgeBase, article_id: str) -> Article | None:
        """The article in its newest state; None where there is none."""


class Conversations(Protocol):
    """Where a conversation is between its turns (conversation_store.py)."""

    async def load(self, tenant: str, conversation_id: str) -> Conversation | None:
        """As it was saved last; None where there is none, or its time is over. Raises ContextUnavailable."""

    async def save(self, conversation: Conversation) -> bool:
        """Keeps it in place of the revision before; False where another turn came first. Raises ContextUnavailable."""


class Desk(Protocol):
    """Where conversations wait for a person (desk_store.py). Every method raises Unavailable where it is away."""

    async def newest(self, tenant: str, conversation_id: str) -> Handoff | None:
        """The newest hand-off of a conversation, resolved or not."""

    async def request(self, handoff: Handoff) -> Handoff:
        """Records a new one; the open one of the same conversation instead, where there is one."""

    async def announce(self, tenant: str, handoff_id: str) -> Handoff:
        """The customer has been told: it is queued."""

    async def say(self, handoff: Handoff, turn: Turn) -> Handoff | None:
        """Adds what the customer says, once by its turn id; None where the hand-off has been resolved meanwhile."""

    async def turns_with_people(self, tenant: str, conversation_id: str) -> tuple[Turn, ...]:
        """What was said in all hand-offs of a conversation, and before the newest, oldest first."""


class FeedbackLog(Protocol):
    """Where feedback is recorded (feedback_store.py)."""

    async def give(self, feedback: Feedback) -> None:
        """Records it; what says the same as before changes nothing. Raises Unavailable."""
