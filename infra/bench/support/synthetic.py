"""A knowledge base of any size without a model: made-up phrasings, drawn vectors, and the parts that serve.

What is measured is the index: a question's vector costs nothing here.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from chassis.models import Inferred
from encoders.text import Tokens
from support import reranking
from support.calibration import Calibrations
from support.corpus import Bases, CorpusKeeper
from support.encoding import InferenceEncoder, VectorCache
from support.knowledge import LANGUAGES, Article, KnowledgeBase, Language
from support.ports import DIMENSIONS
from support.retrieval import HybridRetriever

PHRASINGS_AN_ARTICLE = 20
WORDS = 20_000
"""Of the language; drawn by Zipf's law, 5 to 19 to a phrasing."""
QUESTIONS = 400
REFRESHES = 10
BASE = KnowledgeBase("bench", "bench")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Offline:
    """One size."""

    phrasings: int
    start_cold_s: float
    """From nothing to an index that answers; drawing vectors costs 30 µs each, encoding real ones 5 ms."""
    start_cached_s: float
    """The same with all vectors in the cache: a restart."""
    memory_mib: float
    """Of the process, with the index."""
    peak_mib: float
    p50_ms: float
    p99_ms: float
    refresh_ms: float
    """Until a changed article is found; the median of some."""
    p99_during_refreshes_ms: float
    """Of the questions asked meanwhile."""
    merge_s: float
    """Of all segments into one, in the background."""
    slowest_during_merge_ms: float
    """Of the questions asked meanwhile."""


class DrawnModel:
    """In place of the model server: a vector that is drawn from the number of its text."""

    async def infer(
        self, model: str, inputs: Mapping[str, np.ndarray], *, seconds: float, key: str = "", version: str = ""
    ) -> Inferred:
        """float32 [texts, 384]"""
        numbers = inputs["input_ids"][:, 0]
        drawn = np.stack([np.random.default_rng(int(number)).standard_normal(DIMENSIONS) for number in numbers])
        return Inferred((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32), version or "1")

    async def loaded_versions(self, model: str) -> list[str]:
        """One."""
        return ["1"]


class NumberTokeniser:
    """A text is its hash."""

    def __call__(self, texts: Sequence[str], multiple_of: int = 1) -> Tokens:
        """int64 [texts, 1]"""
        ids = np.array([[hash(text) & 0x7FFFFFFF] for text in texts], np.int64)
        return Tokens(ids, np.ones_like(ids))


class Bench:
    """The base, its keeper and its retriever."""

    def __init__(self, phrasings: int, cache: Path) -> None:
        self.chance = np.random.default_rng(0)
        rank = 1.0 / np.arange(1, WORDS + 1)
        self._share = rank / rank.sum()
        self.bases = Bases()
        tokenisers: dict[Language, NumberTokeniser] = dict.fromkeys(LANGUAGES, NumberTokeniser())
        encoder = InferenceEncoder(DrawnModel(), tokenisers, VectorCache(cache))  # type: ignore[arg-type]
        self.keeper = CorpusKeeper(self.bases, encoder)
        reranker, defaults = reranking.shipped()
        self.retriever = HybridRetriever(self.bases, encoder, Calibrations(defaults), reranker, deadline_seconds=5.0)
        self.articles = [self.article(number, 1) for number in range(phrasings // PHRASINGS_AN_ARTICLE)]

    def article(self, number: int, revision: int) -> Article:
        """With drawn phrasings; both languages have some, so that only one index is made."""
        texts = tuple(self.text() for _ in range(PHRASINGS_AN_ARTICLE))
        return Article(f"a{number}", {}, {"en": "-"}, {"en": texts, "zh": ("卡",)}, revision=revision)

    def text(self) -> str:
        """Five to nineteen words."""
        words = self.chance.choice(WORDS, int(self.chance.integers(5, 20)), p=self._share)
        return " ".join(f"w{word}" for word in words.tolist())

    async def open(self) -> float:
        """Seconds until it answers."""
        started = time.perf_counter()
        for each in self.articles:
            self.bases.put(BASE, each)
        await self.keeper.refresh()
        await self.ask("w1 w2")
        return time.perf_counter() - started

    async def ask(self, question: str) -> float:
        """Milliseconds of one question."""
        started = time.perf_counter()
        found = await self.retriever.retrieve(BASE, question, "en", now=NOW)
        assert not found.degraded
        return (time.perf_counter() - started) * 1e3

    async def ask_until(self, done: asyncio.Event) -> list[float]:
        """Milliseconds of questions, one after the other, until something is done."""
        times = []
        while not done.is_set():
            times.append(await self.ask(self.text()))
            await asyncio.sleep(0)
        return times


async def cached(phrasings: int, cache: Path) -> float:
    """Fills the cache; seconds until the base answered the first time."""
    return await Bench(phrasings, cache).open()


async def measure(phrasings: int, cache: Path, cold: float) -> Offline:
    """With all vectors in the cache, in a process of its own."""
    bench = Bench(phrasings, cache)
    started = await bench.open()
    questions = [bench.text() for _ in range(QUESTIONS)]
    times = [await bench.ask(each) for each in questions]

    done = asyncio.Event()
    asking = asyncio.ensure_future(bench.ask_until(done))
    refreshes = []
    for number in range(REFRESHES):
        changed = bench.article(number, 2)
        since = time.perf_counter()
        bench.bases.put(BASE, changed)
        await bench.keeper.catch_up(BASE)
        found = await bench.retriever.retrieve(BASE, changed.phrasings["en"][0], "en", now=NOW)
        assert found.candidates[0].article.revision == 2
        refreshes.append((time.perf_counter() - since) * 1e3)
    done.set()
    meanwhile = await asking

    await bench.keeper.merged()
    done = asyncio.Event()
    asking = asyncio.ensure_future(bench.ask_until(done))
    shelf = bench.bases.of(BASE).shelves["en"]  # type: ignore[union-attr]
    since = time.perf_counter()
    await bench.keeper.merge(shelf, shelf.segments)
    merging = time.perf_counter() - since
    done.set()
    during_merge = await asking
    process = psutil.Process()
    return Offline(
        phrasings=phrasings,
        start_cold_s=round(cold, 2),
        start_cached_s=round(started, 2),
        memory_mib=round(process.memory_info().rss / 2**20),
        peak_mib=round(_peak_mib()),
        p50_ms=round(float(np.percentile(times, 50)), 2),
        p99_ms=round(float(np.percentile(times, 99)), 2),
        refresh_ms=round(float(np.median(refreshes)), 1),
        p99_during_refreshes_ms=round(float(np.percentile(meanwhile, 99)), 2),
        merge_s=round(merging, 2),
        slowest_during_merge_ms=round(max(during_merge), 1),
    )


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
