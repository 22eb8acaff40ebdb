"""A knowledge base in memory: its articles, and for each language a shelf of indexes over their phrasings.

An index is a row of segments, as Lucene's are. A changed article becomes a small segment of its own and is marked as
gone in the one before; in the background, segments are merged into one, in a thread, and put in its place whole. So a
change is searchable in the time that its own phrasings take, however many others there are, and no answer waits for it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from support.dense import CHUNK, DenseSegment, centre_of
from support.everyday import EVERYDAY
from support.knowledge import LANGUAGES, PUBLIC, Article, KnowledgeBase, Language
from support.language import normalised
from support.lexical import Int64Array, Postings, Tokenised, joined, tokenised
from support.ports import Encoder, Float32Array, ModelUnavailable

BoolArray = NDArray[np.bool_]
Made = TypeVar("Made")
Lane = Literal["single", "imported"]
"""Changes that came by themselves are taken in beside those that were imported, and wait for none of these. One that
takes as long as an import goes with them."""
LANES: tuple[Lane, ...] = get_args(Lane)
Taken = list[tuple[int, tuple[str, ...]]]
"""Rows on their way into a segment, with their texts."""

ENCODE = "encode"
"""The work beside those of the lanes."""
FIRST_CAPACITY = 256
INLINE_PHRASINGS = 100
"""A segment of so many phrasings takes 2 ms and is made at once, a larger one in a thread."""
MOST_SMALL_SEGMENTS = 8
"""More segments beside the largest are merged into one: each costs a question about 20 µs."""
MERGED_WHOLE = 0.2
"""All are merged when so much of the largest has been added to it, or is gone from it."""
SMALL_SHELF = 2_000
"""A shelf of so many phrasings is merged whole each time: it takes a few milliseconds, and brings a better mean."""

TAKEN_AT_ONCE = 32
"""Phrasings of changes that are encoded before they answer, in one language, a quarter of a second on two cores; the
rest of their lane waits."""
LONGEST_SINGLE = 200
"""Phrasings in one language of a change that goes by itself: two seconds, if all are new."""
MEAN_SAMPLE = 50_000
"""Phrasings that a mean is taken of, at most."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Segment:
    """Phrasings in the order of their articles: those of article g are `starts[g]` to `starts[g + 1]`."""

    phrasings: Sequence[str]
    starts: Int64Array
    """int64 [articles + 1]"""
    rows: Int64Array
    """The articles' rows in the corpus: int64 [articles], each once."""
    postings: Postings
    live: BoolArray
    """bool [articles]: which of them answer from here; the others have a newer segment, or are retired."""
    dense: Mapping[str, DenseSegment] = field(default_factory=dict)
    """By version of the encoder. Missing while the model server is away."""

    def __len__(self) -> int:
        return len(self.phrasings)

    @property
    def kept(self) -> BoolArray:
        """bool [phrasings]: those of articles that answer from here."""
        return np.repeat(self.live, np.diff(self.starts))

    def best_by_article(self, scores: Float32Array) -> Float32Array:
        """Of scores of the phrasings the best of each article: float32 [articles]."""
        return np.maximum.reduceat(scores, self.starts[:-1]) if len(scores) else scores

    def article_of(self, phrasings: Int64Array) -> Int64Array:
        """The segment's articles that some phrasings belong to."""
        return np.searchsorted(self.starts, phrasings, side="right") - 1


class Shelf:
    """One language of a knowledge base. Changed on the event loop alone; `segments` is replaced as a whole."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self.segments: tuple[Segment, ...] = ()
        self._texts: dict[int, tuple[str, ...]] = {}
        """What each article row is to be found by; no entry: by nothing."""
        self._waiting: dict[Lane, dict[int, None]] = {lane: {} for lane in LANES}
        """Rows whose texts are neither in a segment nor on their way into one, the longest waiting first; in one lane
        at most."""
        self._on_the_way: dict[int, Taken] = {}
        """Where a row was taken last: what was taken before, and is still made into a segment, has been overtaken."""
        self._home: dict[int, tuple[Segment, int]] = {}
        """Where each row is live: its segment, and its place there."""

    def __len__(self) -> int:
        return sum(len(texts) for texts in self._texts.values())

    @property
    def articles(self) -> int:
        """How many articles can be found in the language."""
        return len(self._texts)

    def versions(self) -> tuple[str, ...]:
        """The versions of the encoder that any segment has vectors of, oldest first."""
        return tuple(dict.fromkeys(version for each in self.segments for version in each.dense))

    def put(self, row: int, texts: tuple[str, ...], *, imported: bool = False) -> None:
        """What an article is found by from the next refresh on; without texts, it is not found from now on.

        `imported`: see `Corpus.put`; what waits by itself already keeps its place.
        """
        if self._texts.get(row, ()) == texts:
            return
        if texts:
            self._texts[row] = texts
            if len(texts) > LONGEST_SINGLE or (imported and row not in self._waiting["single"]):
                self._waiting["single"].pop(row, None)
                self._waiting["imported"][row] = None
            else:
                self._waiting["imported"].pop(row, None)
                self._waiting["single"][row] = None
            return
        del self._texts[row]
        self._on_the_way.pop(row, None)
        for waiting in self._waiting.values():
            waiting.pop(row, None)
        if row in self._home:
            segment, place = self._home.pop(row)
            segment.live[place] = False

    def waits(self, lane: Lane) -> bool:
        """Whether texts of the lane wait."""
        return bool(self._waiting[lane])

    @property
    def pending(self) -> int:
        """How many articles' texts are not in a segment yet."""
        return len(self._on_the_way.keys() | self._waiting["single"].keys() | self._waiting["imported"].keys())

    def take_waiting(self, lane: Lane, most: int | None = None) -> Taken:
        """The rows that wait in a lane, the longest waiting first; with `most`, so many texts, and the whole of the
        last row's. They wait no longer: they are to be added, or given back."""
        waiting = self._waiting[lane]
        taken: Taken = []
        texts = 0
        while waiting and (most is None or texts < most):
            row = next(iter(waiting))
            del waiting[row]
            taken.append((row, self._texts[row]))
            texts += len(self._texts[row])
            self._on_the_way[row] = taken
        return taken

    def give_back(self, lane: Lane, taken: Taken) -> None:
        """Lets rows wait again, as the first, that could not be taken in."""
        again = [row for row, _ in taken if self._on_the_way.get(row) is taken]
        for row in again:
            del self._on_the_way[row]
        changed = {row for waiting in self._waiting.values() for row in waiting}
        self._waiting[lane] = {row: None for row in again if row not in changed} | self._waiting[lane]

    def average_length(self) -> float:
        """Tokens of a phrasing in the mean, by the largest segment; 0 without one."""
        largest = max(self.segments, key=len, default=None)
        return largest.postings.average_length if largest else 0.0

    def add(self, segment: Segment, taken: Taken) -> None:
        """Lets a segment of changed articles answer, in place of what they were before: but for those that were
        retired while it was made, or overtaken."""
        for place, (row, _) in enumerate(taken):
            if self._on_the_way.get(row) is not taken:
                segment.live[place] = False
                continue
            del self._on_the_way[row]
            if row in self._home:
                older, its_place = self._home[row]
                older.live[its_place] = False
            self._home[row] = (segment, place)
        self.segments = (*self.segments, segment)

    def replace(self, merged: Sequence[Segment], by: Segment) -> None:
        """Lets `by` answer in place of segments that it was merged from; what has left them since is not live in it."""
        for place, row in enumerate(by.rows.tolist()):
            home = self._home.get(row)
            if home is not None and home[0] in merged:
                self._home[row] = (by, place)
            else:
                by.live[place] = False
        rest = tuple(each for each in self.segments if each not in merged)
        self.segments = (by, *rest) if len(by) else rest

    def due(self) -> tuple[Segment, ...]:
        """The segments to merge now; none, mostly. Those that have vectors of the same versions: else one that has none
        yet, while the model server is away, would take all vectors with it."""
        alike: dict[frozenset[str], list[Segment]] = {}
        for segment in self.segments:
            alike.setdefault(frozenset(segment.dense), []).append(segment)
        return next((due for each in alike.values() if (due := self._due(each))), ())

    def _due(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        largest = max(segments, key=len)
        small = tuple(each for each in segments if each is not largest)
        added = sum(len(each) for each in small)
        gone = len(largest) - int(largest.kept.sum())
        if (small and len(self) <= SMALL_SHELF) or added + gone > MERGED_WHOLE * len(largest):
            return tuple(segments)
        return small if len(small) > MOST_SMALL_SEGMENTS else ()


class Corpus:
    """A knowledge base's articles and shelves. Written on the event loop alone; a row keeps its article for good."""

    def __init__(self, base: KnowledgeBase) -> None:
        self.base = base
        self.articles: list[Article] = []
        self.change = 0
        """The sum of the articles' revisions: grows with every change, and is the same on every replica that has the
        same articles."""
        self.indexed = 0
        """The newest change up to which all are in the indexes."""
        self.shelves: Mapping[Language, Shelf] = {language: Shelf(language) for language in LANGUAGES}
        self._row_of: dict[str, int] = {}
        self._open: BoolArray = np.zeros(FIRST_CAPACITY, np.bool_)
        """Rows that may answer anybody at any time."""
        self._restricted: dict[int, Article] = {}
        """Those that are for some, or for a time."""

    def __len__(self) -> int:
        return len(self.articles)

    def put(self, article: Article, *, imported: bool = False) -> bool:
        """Takes an article in its newer state; False where a newer one (or this one) is here already.

        `imported`: it came with others; what came by itself does not wait for it to be taken into the indexes.

        A retired article answers no more when this returns. A changed one is found by what it was found by until its
        shelf is refreshed, and answers with what it says now.
        """
        row = self._row_of.get(article.article_id)
        if row is None:
            row = self._row_of[article.article_id] = len(self.articles)
            self.articles.append(article)
            if row == len(self._open):
                self._open = np.concatenate([self._open, np.zeros(row, np.bool_)])
        elif article.revision <= self.articles[row].revision:
            return False
        else:
            self.change -= self.articles[row].revision
        self.change += article.revision
        self.articles[row] = article
        restricted = article.audience != PUBLIC or article.valid_from is not None or article.valid_to is not None
        self._open[row] = not article.retired and not restricted
        if restricted and not article.retired:
            self._restricted[row] = article
        else:
            self._restricted.pop(row, None)
        for language, shelf in self.shelves.items():
            shelf.put(row, () if article.retired else searched(article, language), imported=imported)
        return True

    def get(self, article_id: str) -> Article | None:
        """The article, retired or not; None where there is none."""
        row = self._row_of.get(article_id)
        return None if row is None else self.articles[row]

    def allowed(self, now: datetime, audiences: Set[str]) -> BoolArray:
        """Which rows may answer somebody of these audiences now: bool [articles]."""
        allowed = self._open[: len(self.articles)]
        if self._restricted:
            allowed = allowed.copy()
            for row, article in self._restricted.items():
                allowed[row] = article.may_answer(now, audiences)
        return allowed


def searched(article: Article, language: Language) -> tuple[str, ...]:
    """What an article is found by in a language: its title and its phrasings, each once.

    An article that has none in Chinese is found there by its English ones: the Chinese encoder reads both languages.
    """
    texts = _texts_in(article, language)
    if not texts and language == "zh":
        texts = _texts_in(article, "en")
    return tuple(texts)


def _texts_in(article: Article, language: Language) -> dict[str, None]:
    texts = (article.title.get(language, ""), *article.phrasings.get(language, ()))
    return {text: None for each in texts if (text := normalised(each))}


class Bases:
    """Every knowledge base that is served. One begins with its first article."""

    def __init__(self) -> None:
        self._corpora: dict[KnowledgeBase, Corpus] = {}

    def of(self, base: KnowledgeBase) -> Corpus | None:
        """The base's corpus; None where there is no such base."""
        return self._corpora.get(base)

    def article(self, base: KnowledgeBase, article_id: str) -> Article | None:
        """An article that may still answer; None where it is unknown or retired."""
        corpus = self._corpora.get(base)
        article = corpus.get(article_id) if corpus else None
        return None if article is None or article.retired else article

    def put(self, base: KnowledgeBase, article: Article, *, imported: bool = False) -> bool:
        """Takes an article in its newer state; says whether it changed anything. See `Corpus.put`."""
        corpus = self._corpora.get(base)
        if corpus is None:
            corpus = self._corpora[base] = Corpus(base)
        return corpus.put(article, imported=imported)

    def all(self) -> list[Corpus]:
        """Those that have had an article."""
        return list(self._corpora.values())


class CorpusKeeper:
    """Brings the indexes up to the articles and to the encoders' versions, and merges segments.

    Taking in a change is quick; giving segments the vectors that they lack (of a new version, or because the model
    server was away) and merging take their time beside it, and hold up neither changes nor answers. Each base is kept
    by tasks of its own, and a base's imports by another than its single changes: however large an import is, it holds
    up neither another base nor a change that comes by itself.
    """

    def __init__(self, bases: Bases, encoder: Encoder, poll_seconds: float = 2.0) -> None:
        self._bases = bases
        self._encoder = encoder
        self._poll_seconds = poll_seconds
        self._wake = asyncio.Event()
        self._taking_in: dict[tuple[KnowledgeBase, Lane], asyncio.Lock] = {}
        self._encoding: dict[KnowledgeBase, asyncio.Lock] = {}
        self._encoded: dict[KnowledgeBase, int] = {}
        """Up to which change a base had all vectors when they were last looked at."""
        self._backgrounds: dict[tuple[Language, str], Float32Array] = {}
        self._merging: dict[Shelf, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Something has changed: look now, not at the next poll."""
        self._wake.set()

    async def run(self) -> None:
        """Keeps the indexes until cancelled."""
        works: Mapping[str, Callable[[Corpus], Awaitable[list[ModelUnavailable]]]] = {
            **{lane: partial(self._take_in_lane, lane=lane) for lane in LANES},
            ENCODE: self._encode_missing,
        }
        tasks: dict[tuple[KnowledgeBase, str], asyncio.Task[None]] = {}
        polled_at = -math.inf
        try:
            while True:
                self._wake.clear()
                if polls := time.monotonic() - polled_at >= self._poll_seconds:
                    polled_at = time.monotonic()
                for corpus in self._bases.all():
                    for name, work in works.items():
                        # A change of one base asks nothing of the model server for all the others.
                        if name == ENCODE and not polls and self._encoded.get(corpus.base) == corpus.indexed:
                            continue
                        running = tasks.get((corpus.base, name))
                        if running is not None and not running.done():
                            continue
                        if running is not None:
                            running.result()  # what nobody expected ends the process
                        tasks[corpus.base, name] = asyncio.create_task(self._keep(work, corpus))
                try:
                    await asyncio.wait_for(self._wake.wait(), self._poll_seconds)
                except TimeoutError:
                    continue
        finally:
            for task in (*tasks.values(), *self._merging.values()):
                task.cancel()

    async def _keep(self, work: Callable[[Corpus], Awaitable[list[ModelUnavailable]]], corpus: Corpus) -> None:
        for failure in (await work(corpus))[-1:]:
            _log.warning("vectors of %s are not refreshed now: %s", corpus.base.name, failure)

    async def refresh(self) -> None:
        """Makes every index what the articles and the encoders' versions ask for.

        Raises ModelUnavailable where vectors are missing afterwards; what there is can be found by words then.
        """
        failures: list[ModelUnavailable] = []
        for corpus in self._bases.all():
            failures += await self._take_in(corpus)
        for corpus in self._bases.all():
            failures += await self._encode_missing(corpus)
        if failures:
            raise failures[-1]

    async def catch_up(self, base: KnowledgeBase) -> None:
        """Brings a base's indexes up to its articles: what was just put in can be found when this returns.

        Raises ModelUnavailable where it can be found by words alone yet; `run` tries again.
        """
        corpus = self._bases.of(base)
        if corpus is None:
            return
        failures = await self._take_in(corpus)
        if all(len(shelf) <= SMALL_SHELF for shelf in corpus.shelves.values()):
            failures += await self._encode_missing(corpus)
        else:
            self.wake()
        if failures:
            raise failures[-1]

    async def merged(self) -> None:
        """Waits until what is being merged now has been."""
        await asyncio.gather(*self._merging.values())

    async def _take_in(self, corpus: Corpus) -> list[ModelUnavailable]:
        lanes = await asyncio.gather(*(self._take_in_lane(corpus, lane) for lane in LANES))
        return [failure for failures in lanes for failure in failures]

    async def _take_in_lane(self, corpus: Corpus, lane: Lane) -> list[ModelUnavailable]:
        failures: list[ModelUnavailable] = []
        async with self._taking_in.setdefault((corpus.base, lane), asyncio.Lock()):
            last: Shelf | None = None
            while waiting := [shelf for shelf in corpus.shelves.values() if shelf.waits(lane)]:
                last = shelf = min(waiting, key=lambda each: each is last)  # languages take turns
                try:
                    await self._take_in_shelf(shelf, lane, () if failures else shelf.versions())
                except ModelUnavailable as error:
                    failures.append(error)
                self._merge_when_due(shelf)
            if corpus.indexed != corpus.change and not any(shelf.pending for shelf in corpus.shelves.values()):
                corpus.indexed = corpus.change
                self._wake.set()  # a first segment has no vectors yet
        return failures

    async def _take_in_shelf(self, shelf: Shelf, lane: Lane, versions: Sequence[str]) -> None:
        """Takes in what waits in a lane, with vectors of these versions; of a large change a part."""
        taken = shelf.take_waiting(lane, TAKEN_AT_ONCE if versions else None)
        if not taken:
            return
        failure: ModelUnavailable | None = None
        try:
            segment = await _made(
                sum(len(texts) for _, texts in taken),
                lambda: segment_of(taken, shelf.language, shelf.average_length()),
            )
            # First the vectors, where others have them: an article that changes is not found by words alone in between.
            for version in versions:
                try:
                    await self._encode(shelf, segment, version)
                except ModelUnavailable as error:  # perhaps this version alone: a release has taken it away
                    failure = error
        except BaseException:  # a cancelled wait must not lose a change
            shelf.give_back(lane, taken)
            raise
        shelf.add(segment, taken)
        if failure is not None and not segment.dense:
            raise failure

    async def _encode_missing(self, corpus: Corpus) -> list[ModelUnavailable]:
        """Gives segments the vectors that they lack, and takes away those of versions that may answer no more."""
        failures: list[ModelUnavailable] = []
        async with self._encoding.setdefault(corpus.base, asyncio.Lock()):
            until = corpus.indexed
            for language, shelf in corpus.shelves.items():
                if not shelf.segments:
                    continue
                try:
                    versions = await self._encoder.versions(language)
                except ModelUnavailable as error:
                    failures.append(error)
                    continue
                for version in versions:
                    try:
                        await self._encode_version(shelf, version)
                    except ModelUnavailable as error:  # perhaps this version alone
                        failures.append(error)
                for segment in shelf.segments:
                    _drop_versions(segment, versions)
                self._merge_when_due(shelf)
            if not failures:
                self._encoded[corpus.base] = until
        return failures

    async def _encode_version(self, shelf: Shelf, version: str) -> None:
        for segment in sorted(shelf.segments, key=len, reverse=True):
            if version not in segment.dense:
                await self._encode(shelf, segment, version)

    async def _encode(self, shelf: Shelf, segment: Segment, version: str) -> None:
        started = time.perf_counter()
        dense = DenseSegment(await self._centre(shelf, segment, version))
        for start in range(0, len(segment), CHUNK):
            texts = segment.phrasings[start : start + CHUNK]
            vectors = await self._encoder.phrasings(texts, shelf.language, version)
            await _made(len(texts), partial(dense.extend, vectors))
        beside = next((each.dense[version].discriminant for each in shelf.segments if version in each.dense), None)
        summarise = partial(dense.summarise, segment.starts, beside)
        # A discriminant of its own takes 20 ms, however small the segment is.
        await (asyncio.to_thread(summarise) if beside is None else _made(len(segment), summarise))
        segment.dense = {**segment.dense, version: dense}
        seconds = round(time.perf_counter() - started, 3)
        _log.debug("%d phrasings in %s by version %s: %s s", len(segment), shelf.language, version, seconds)

    async def _centre(self, shelf: Shelf, segment: Segment, version: str) -> Float32Array:
        """The shelf's, else one of a sample of this segment's own phrasings."""
        for each in shelf.segments:
            if version in each.dense:
                return each.dense[version].centre
        sample = segment.phrasings[:: 1 + len(segment) // MEAN_SAMPLE]
        vectors = await self._encoder.phrasings(sample, shelf.language, version)
        return centre_of([vectors], await self._background(shelf.language, version))

    async def _background(self, language: Language, version: str) -> Float32Array:
        known = self._backgrounds.get((language, version))
        if known is None:
            known = await self._encoder.phrasings(EVERYDAY[language], language, version)
            self._backgrounds[language, version] = known
        return known

    def _merge_when_due(self, shelf: Shelf) -> None:
        running = self._merging.get(shelf)
        if running is not None:
            if not running.done():
                return
            running.result()  # what nobody expected ends the process
        segments = shelf.due()
        if segments:
            self._merging[shelf] = asyncio.create_task(self.merge(shelf, segments))

    async def merge(self, shelf: Shelf, segments: tuple[Segment, ...]) -> None:
        """Merges segments in a thread, and puts what comes of it in their place."""
        backgrounds = {
            version: each for (language, version), each in self._backgrounds.items() if language == shelf.language
        }
        whole = len(segments) == len(shelf.segments)
        shelf.replace(segments, await asyncio.to_thread(merge, segments, backgrounds if whole else None))


async def _made(phrasings: int, make: Callable[[], Made]) -> Made:
    """Made here and now where it takes a moment, else in a thread."""
    return make() if phrasings <= INLINE_PHRASINGS else await asyncio.to_thread(make)


def _drop_versions(segment: Segment, versions: Sequence[str]) -> None:
    """Without a successor vectors stay, whatever happens to their encoder: it may come back."""
    if any(version in segment.dense for version in versions):
        segment.dense = {version: each for version, each in segment.dense.items() if version in versions}


def segment_of(taken: Taken, language: Language, average_length: float = 0.0) -> Segment:
    """A segment of some articles' texts, without vectors. `average_length` 0: that of these texts."""
    phrasings = [text for _, texts in taken for text in texts]
    tokens = tokenised(phrasings, language)
    return Segment(
        phrasings=phrasings,
        starts=np.cumsum([0, *(len(texts) for _, texts in taken)]),
        rows=np.array([row for row, _ in taken], np.int64),
        postings=Postings(tokens, average_length or _average_length(tokens)),
        live=np.ones(len(taken), np.bool_),
    )


def merge(segments: Sequence[Segment], backgrounds: Mapping[str, Float32Array] | None) -> Segment:
    """One segment of what is live in several, now. Touches none of them: safe in a thread.

    `backgrounds` (by version) say that these are all the segments of a shelf: the vectors get a mean anew, and
    phrasings are compared with their own mean length; with None both stay those of the first. Versions of the encoder
    that one of the segments lacks are left out.
    """
    lives, denses = [each.live.copy() for each in segments], [each.dense for each in segments]
    kept = [np.repeat(live, np.diff(each.starts)) for each, live in zip(segments, lives, strict=True)]
    tokens = joined([(each.postings.texts, mask) for each, mask in zip(segments, kept, strict=True)])
    sizes = np.concatenate([np.diff(each.starts)[live] for each, live in zip(segments, lives, strict=True)])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    dense = {}
    for version in denses[0]:
        if all(version in each for each in denses):
            parts = [(each[version], np.flatnonzero(mask)) for each, mask in zip(denses, kept, strict=True)]
            dense[version] = _merged_dense(parts, starts, (backgrounds or {}).get(version))
    return Segment(
        phrasings=[
            text
            for each, mask in zip(segments, kept, strict=True)
            for text, keep in zip(each.phrasings, mask.tolist(), strict=True)
            if keep
        ],
        starts=starts,
        rows=np.concatenate([each.rows[live] for each, live in zip(segments, lives, strict=True)]),
        postings=Postings(
            tokens, segments[0].postings.average_length if backgrounds is None else _average_length(tokens)
        ),
        live=np.ones(len(sizes), np.bool_),
        dense=dense,
    )


def _merged_dense(
    parts: Sequence[tuple[DenseSegment, Int64Array]], starts: Int64Array, background: Float32Array | None
) -> DenseSegment:
    def chunks() -> Iterable[Float32Array]:
        return (chunk for dense, rows in parts for chunk in dense.originals(rows))

    first = parts[0][0]
    merged = DenseSegment(first.centre if background is None else centre_of(chunks(), background))
    for chunk in chunks():
        merged.extend(chunk)
    merged.summarise(starts, first.discriminant if background is None else None)
    return merged


def _average_length(tokens: Tokenised) -> float:
    lengths = tokens.ids.lengths
    return float(lengths.mean()) if len(lengths) else 0.0
