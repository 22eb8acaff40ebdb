"""A knowledge base in this process, made of the parts that serve, and questions put to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from support.calibration import Calibration, Calibrations
from support.corpus import Bases, CorpusKeeper
from support.knowledge import Article, KnowledgeBase, LabelledQuestion, Language, Retrieved
from support.ports import Encoder, Float32Array
from support.reranking import Reranker
from support.retrieval import Found, HybridRetriever

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANDIDATES = 20
"""As many as hold the ten best by words and the ten nearest in meaning, whatever the reranker makes of them."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What the reranker is given for a question, and which of the candidates is right."""

    question: LabelledQuestion
    found: Found
    right: int | None
    """The place among the candidates; None where the right one is not among them, or there is none."""

    @property
    def features(self) -> Float32Array:
        """float32 [candidates, features]"""
        return self.found.features


class Workbench:
    """One base at a time, in memory."""

    def __init__(
        self, encoder: Encoder, reranker: Reranker, defaults: dict[Language, Calibration], articles: Sequence[Article]
    ) -> None:
        self._base = KnowledgeBase("evaluation", "evaluation")
        self._bases = Bases()
        for article in articles:
            self._bases.put(self._base, article)
        self._keeper = CorpusKeeper(self._bases, encoder)
        self.retriever = HybridRetriever(self._bases, encoder, Calibrations(defaults), reranker, deadline_seconds=60.0)

    async def open(self) -> "Workbench":
        """With all its vectors."""
        await self._keeper.refresh()
        await self._keeper.merged()
        return self

    async def retrieved(
        self, questions: Sequence[LabelledQuestion], *, by_words_alone: bool = False
    ) -> list[Retrieved]:
        """What is retrieved for each question."""
        return [
            await self.retriever.retrieve(
                self._base, each.question, each.language, now=NOW, count=CANDIDATES, by_words_alone=by_words_alone
            )
            for each in questions
        ]

    async def examined(self, questions: Sequence[LabelledQuestion], *, by_words_alone: bool = False) -> list[Examined]:
        """What the reranker is given for each question; those for which nothing is found are left out."""
        corpus = self._bases.of(self._base)
        assert corpus is not None
        examined = []
        for each in questions:
            found = await self.retriever.find(
                self._base, each.question, each.language, now=NOW, by_words_alone=by_words_alone
            )
            ids = [corpus.articles[row].article_id for row in found.rows.tolist()]
            if ids:
                examined.append(Examined(each, found, ids.index(each.article_id) if each.article_id in ids else None))
        return examined
