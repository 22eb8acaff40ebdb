"""A small library of questions and answers, with an encoder that reads words: the retrieval's ports in memory."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from support.calibration import Calibrations
from support.corpus import Bases, CorpusKeeper
from support.knowledge import Article, KnowledgeBase, Language, Retrieved
from support.language import tokens
from support.ports import ModelUnavailable
from support.reranking import shipped
from support.retrieval import HybridRetriever

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BASE = KnowledgeBase("city", "library")
SYNONYMS = {"borrow": "lend", "publication": "book", "publications": "books", "借阅": "借书", "bring": "return"}


class Held:
    """Something that is begun and not done before it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        self.begun.set()
        await self.let_go.wait()


class WordEncoder:
    """A text is the sum of its words' directions; synonyms share one, so meaning finds what words do not."""

    def __init__(self) -> None:
        self.fails = False
        self.hangs = False
        self.refused: set[str] = set()
        """What no call succeeds with."""
        self.held: dict[str, Held] = {}
        """By text, what is not encoded before it is let go."""
        self.loaded: dict[Language, list[str]] = {"en": ["1"], "zh": ["1"]}
        self.listed = 0
        """How often it was asked what is loaded."""
        self.encoded: list[tuple[str, Language, str]] = []

    async def encode(
        self, texts: Sequence[str], language: Language, *, version: str = "", request_key: str = ""
    ) -> tuple[np.ndarray, str]:
        if self.fails or not self.refused.isdisjoint(texts):
            raise ModelUnavailable("the model server is away")
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.gather(*(self.held[text].wait() for text in texts if text in self.held))
        for _ in texts:  # the more there are, the longer it takes
            await asyncio.sleep(0)
        version = version or self.loaded[language][-1]
        self.encoded += [(text, language, version) for text in texts]
        return np.stack([vector(text, language, version) for text in texts]), f"encoder_{language}/{version}"

    async def phrasings(self, texts: Sequence[str], language: Language, version: str) -> np.ndarray:
        if version not in self.loaded[language]:
            raise ModelUnavailable(f"version {version} is not loaded")
        return (await self.encode(texts, language, version=version))[0]

    async def versions(self, language: Language) -> list[str]:
        self.listed += 1
        if self.fails:
            raise ModelUnavailable("the model server is away")
        return self.loaded[language]


def vector(text: str, language: Language, version: str = "1") -> np.ndarray:
    """float32 [384], of length 1, with the share that all texts of an encoder have in common."""
    total = 0.5 * direction(f"everything by {version}")
    for token in tokens(text, language):
        total = total + direction(SYNONYMS.get(token, token))
    return (total / np.linalg.norm(total)).astype(np.float32)


def direction(word: str) -> np.ndarray:
    seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
    drawn = np.random.default_rng(seed).standard_normal(384)
    return drawn / np.linalg.norm(drawn)


def article(article_id: str, *en: str, zh: Sequence[str] = (), revision: int = 1, **fields: object) -> Article:
    phrasings = {"en": tuple(en), "zh": tuple(zh)}
    return Article(article_id, {}, {"en": "See the desk."}, phrasings, revision=revision, **fields)


ARTICLES = (
    article("lend", "how do I lend a book", "where can I lend books", zh=("怎么借书", "在哪里借书")),
    article("return", "how do I return a book", "where do I bring a book back", zh=("怎么还书", "书还到哪里")),
    article("hours", "when are you open", "opening hours on sunday", zh=("几点开门", "周日开门吗")),
    article("card", "how do I get a library card", "what does a card cost", zh=("怎么办借书证", "借书证多少钱")),
    article("fines", "what is the fine for a late return", "how do I pay a fine", zh=("逾期罚款多少", "怎么交罚款")),
)


class Library:
    """The base, its keeper and its retriever."""

    def __init__(self, *articles: Article) -> None:
        self.encoder = WordEncoder()
        self.bases = Bases()
        self.keeper = CorpusKeeper(self.bases, self.encoder)
        self.reranker, defaults = shipped()
        self.calibrations = Calibrations(defaults)
        self.retriever = HybridRetriever(
            self.bases, self.encoder, self.calibrations, self.reranker, deadline_seconds=0.05
        )
        self.put(*(articles or ARTICLES))

    def put(self, *articles: Article, imported: bool = False) -> None:
        for each in articles:
            self.bases.put(BASE, each, imported=imported)

    @property
    def corpus(self):
        return self.bases.of(BASE)

    async def open(self) -> "Library":
        await self.keeper.refresh()
        await self.keeper.merged()
        return self

    async def ask(self, question: str, language: Language = "en", **options: object) -> Retrieved:
        return await self.retriever.retrieve(BASE, question, language, **{"now": NOON, **options})

    async def finds(self, question: str, language: Language = "en", **options: object) -> list[str]:
        """Article ids, best first."""
        return [each.article.article_id for each in (await self.ask(question, language, **options)).candidates]
