"""What the domain needs from outside. Each port has one real adapter, and a fake in the tests."""

from collections.abc import Sequence, Set
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from support.knowledge import KnowledgeBase, Language, Retrieved

Float32Array = NDArray[np.float32]


class ModelUnavailable(Exception):
    """The model server does not answer in time, or not as it should."""


class Encoder(Protocol):
    """Text to unit vectors, by language (encoding.py: through `inference`, vectors cached by text and model)."""

    async def encode(
        self, texts: Sequence[str], language: Language, *, version: str = "", request_key: str = ""
    ) -> tuple[Float32Array, str]:
        """float32 [n, 384], rows of length 1, and "<model>/<version>" that made them. Raises ModelUnavailable.

        `request_key` is what a canary's share sticks to; `version` asks for one, empty for the released one.
        """

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
