"""A knowledge base in this process, made of the parts that serve, and questions put to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from support import quality
from support.calibration import WAYS, Calibration, Calibrations, fit
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
        self.base = KnowledgeBase("evaluation", "evaluation")
        self.bases = Bases()
        for article in articles:
            self.bases.put(self.base, article)
        self._keeper = CorpusKeeper(self.bases, encoder)
        self.calibrations = Calibrations(defaults)
        self.retriever = HybridRetriever(self.bases, encoder, self.calibrations, reranker, deadline_seconds=60.0)

    async def open(self) -> "Workbench":
        """With all its vectors."""
        await self._keeper.refresh()
        await self._keeper.merged()
        return self

    async def calibrate(self, questions: Sequence[LabelledQuestion], target_risk: float) -> None:
        """Fits the base's own calibration as the service does: questions of one language. Raises ValueError for too few
        of them."""
        examples = {
            way: quality.examples(
                questions,
                [
                    next(iter(found.candidates), None)
                    for found in await self.retrieved(questions, by_words_alone=way == "lexical", count=1)
                ],
            )
            for way in WAYS
        }
        own = fit(examples)
        if own is None:
            raise ValueError(f"{len(questions)} questions are too few to calibrate with")
        self.calibrations.put(self.base, questions[0].language, own)
        self.calibrations.aim(self.base, questions[0].language, target_risk)

    async def retrieved(
        self, questions: Sequence[LabelledQuestion], *, by_words_alone: bool = False, count: int = CANDIDATES
    ) -> list[Retrieved]:
        """What is retrieved for each question."""
        return [
            await self.retriever.retrieve(
                self.base, each.question, each.language, now=NOW, count=count, by_words_alone=by_words_alone
            )
            for each in questions
        ]

    async def examined(self, questions: Sequence[LabelledQuestion], *, by_words_alone: bool = False) -> list[Examined]:
        """What the reranker is given for each question; those for which nothing is found are left out."""
        corpus = self.bases.of(self.base)
        assert corpus is not None
        examined = []
        for each in questions:
            found = await self.retriever.find(
                self.base, each.question, each.language, now=NOW, by_words_alone=by_words_alone
            )
            ids = [corpus.articles[row].article_id for row in found.rows.tolist()]
            if ids:
                examined.append(Examined(each, found, ids.index(each.article_id) if each.article_id in ids else None))
        return examined
