"""The knowledge base, asked: words and meaning, fused, reranked, and turned into probabilities.

A question is asked in its own language. It is asked in the other one as well where it is written in both, where the
base has nothing in its own, or where the base has articles that its own cannot find and what it found is doubtful.
"""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from chassis.errors import NotFound
from support.calibration import Calibrations, Way
from support.corpus import Bases, BoolArray, Corpus, Segment, Shelf
from support.dense import DenseSegment
from support.knowledge import (
    LANGUAGES,
    Candidate,
    KnowledgeBase,
    Language,
    Retrieved,
    Scores,
    StageTime,
)
from support.language import Question, other, read, tokens
from support.lexical import Int64Array, score
from support.ports import Encoder, Float32Array, ModelUnavailable
from support.reranking import FEATURES, Reranker

FEWEST_CANDIDATES = 10
"""Of each of the two searches: a margin wants more than what is asked for."""
NEAREST = 256
"""Phrasings that FAISS is asked for at first."""
NEIGHBOURS = 3
LEAST_SHARE = -30.0
"""Of a discriminant, as a logarithm."""
DOUBTFUL = 0.5
"""Below this probability it is worth asking in the other language too."""
SMALL = 50_000
"""A search among so many phrasings takes a few milliseconds and goes on the event loop, a larger one in a thread."""
WITHOUT_MODEL = "model"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A question's vector (float32 [384]) and "<model>/<version>" that made it."""

    vector: Float32Array
    encoder: str

    @property
    def version(self) -> str:
        """The version alone: what indexes are kept by."""
        return self.encoder.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates in one language, in no order: arrays [n]."""

    encoder: str
    """ "<model>/<version>"; empty where words alone were searched."""
    rows: Int64Array
    """Of the corpus."""
    phrasings: Sequence[str]
    lexical: Float32Array
    dense: Float32Array
    fused: Float32Array
    features: Float32Array
    """float32 [n, features]"""

    @property
    def way(self) -> Way:
        """How they were found."""
        return "hybrid" if self.encoder else "lexical"


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question on its way through a knowledge base."""

    corpus: Corpus
    question: Question
    now: datetime
    audiences: Set[str]
    request_key: str
    depth: int
    """Candidates of each search."""
    by_words_alone: bool
    patience_seconds: float
    """For the question's vector."""


@dataclass(slots=True)
class Progress:
    """What has been found so far."""

    best: dict[int, Candidate] = field(default_factory=dict)
    """By row of the corpus."""
    encoders: list[str] = field(default_factory=list)
    degraded: bool = False
    milliseconds: dict[str, float] = field(default_factory=dict)

    def candidates(self) -> list[Candidate]:
        """Best first."""
        return sorted(self.best.values(), key=lambda each: (-each.scores.probability, -each.scores.reranked))

    def took(self, stage: str, since: float) -> None:
        """Adds the time since `since` (of time.perf_counter) to a stage."""
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + (time.perf_counter() - since) * 1e3


class HybridRetriever:
    """`ports.Retriever` over indexes in memory."""

    def __init__(
        self,
        bases: Bases,
        encoder: Encoder,
        calibrations: Calibrations,
        reranker: Reranker,
        deadline_seconds: float = 0.25,
    ) -> None:
        """After `deadline_seconds` without a vector of the question, words alone answer."""
        self._bases = bases
        self._encoder = encoder
        self._calibrations = calibrations
        self._reranker = reranker
        self._deadline_seconds = deadline_seconds

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
        by_words_alone: bool = False,
        patience_seconds: float | None = None,
    ) -> Retrieved:
        """At most `count` articles that may answer, best first: see `ports.Retriever`.

        `by_words_alone` retrieves as if the model server were away: what its calibration is fitted to.
        `patience_seconds` stands in place of the deadline, for those for whom nobody waits.
        """
        corpus = self._bases.of(base)
        if corpus is None:
            raise NotFound("knowledge base", base.name)
        asked, progress = read(question, language), Progress()
        if asked.says_something:
            depth = max(count, FEWEST_CANDIDATES)
            patience = self._deadline_seconds if patience_seconds is None else patience_seconds
            inquiry = Inquiry(corpus, asked, now, audiences, request_key, depth, by_words_alone, patience)
            routes = routes_of(corpus, asked)
            await self._ask(inquiry, routes, progress)
            further = other(language)
            if further not in routes and finds_more(corpus, further) and is_doubtful(progress):
                await self._ask(inquiry, (further,), progress)
        return Retrieved(
            question=question,
            language=language,
            candidates=tuple(progress.candidates()[:count]),
            encoders=tuple(progress.encoders),
            index=corpus.indexed,
            reranker=self._reranker.version,
            degraded=(WITHOUT_MODEL,) if progress.degraded else (),
            stages=tuple(StageTime(name, spent) for name, spent in progress.milliseconds.items()),
        )

    async def find(
        self, base: KnowledgeBase, question: str, language: Language, *, now: datetime, by_words_alone: bool = False
    ) -> Found:
        """What the reranker is given for a question, in its own language alone: what it is fitted to."""
        corpus = self._bases.of(base)
        if corpus is None:
            raise NotFound("knowledge base", base.name)
        asked = read(question, language)
        inquiry = Inquiry(
            corpus, asked, now, frozenset(), "", FEWEST_CANDIDATES, by_words_alone, self._deadline_seconds
        )
        shelf = corpus.shelves[language]
        return await self._search(inquiry, shelf, await self._meaning(inquiry, shelf))

    async def _ask(self, inquiry: Inquiry, routes: Sequence[Language], progress: Progress) -> None:
        started = time.perf_counter()
        shelves = [inquiry.corpus.shelves[language] for language in routes]
        meanings = await asyncio.gather(*(self._meaning(inquiry, shelf) for shelf in shelves))
        progress.took("encode", started)
        for shelf, meaning in zip(shelves, meanings, strict=True):
            started = time.perf_counter()
            if meaning is not None:
                progress.encoders.append(meaning.encoder)
            elif shelf.articles:
                progress.degraded = True
            found = await self._search(inquiry, shelf, meaning)
            progress.took("search", started)
            started = time.perf_counter()
            self._rerank(inquiry, shelf, found, progress)
            progress.took("rerank", started)

    async def _meaning(self, inquiry: Inquiry, shelf: Shelf) -> Meaning | None:
        """The question's vector by a version that the shelf has an index of; None where there is none in time."""
        versions = shelf.versions()
        if inquiry.by_words_alone or not versions:
            return None
        try:
            async with asyncio.timeout(inquiry.patience_seconds):
                meaning = await self._encoded(inquiry, shelf.language)
                if meaning.version not in versions:  # released a moment ago: not indexed yet
                    meaning = await self._encoded(inquiry, shelf.language, versions[0])
        except (ModelUnavailable, TimeoutError):
            return None
        return meaning

    async def _encoded(self, inquiry: Inquiry, language: Language, version: str = "") -> Meaning:
        vectors, encoder = await self._encoder.encode(
            [inquiry.question.text], language, version=version, request_key=inquiry.request_key
        )
        return Meaning(vectors[0], encoder)

    async def _search(self, inquiry: Inquiry, shelf: Shelf, meaning: Meaning | None) -> Found:
        segments, share = shelf.segments, self._reranker.lexical_shares[shelf.language]
        allowed = inquiry.corpus.allowed(inquiry.now, inquiry.audiences)
        # Now, not in the thread: what changes meanwhile has left these segments for one that is not among them.
        usable = [each.live & allowed[each.rows] for each in segments]
        searched = tokens(inquiry.question.text, shelf.language)
        if sum(len(each) for each in segments) <= SMALL:
            return search(segments, usable, searched, meaning, inquiry.depth, share, shelf.language)
        return await asyncio.to_thread(
            search, segments, usable, searched, meaning, inquiry.depth, share, shelf.language
        )

    def _rerank(self, inquiry: Inquiry, shelf: Shelf, found: Found, progress: Progress) -> None:
        logits = self._reranker.logits(found.features, shelf.language, found.encoder, shelf.average_length())
        calibration = self._calibrations.of(inquiry.corpus.base, shelf.language)
        probabilities = calibration.probabilities(logits.astype(np.float64), found.way)
        for place, row in enumerate(found.rows.tolist()):
            article = inquiry.corpus.articles[row]
            # It may have been retired while the question was away.
            if not article.may_answer(inquiry.now, inquiry.audiences):
                continue
            scores = Scores(
                lexical=float(found.lexical[place]),
                dense=float(found.dense[place]),
                fused=float(found.fused[place]),
                reranked=float(logits[place]),
                probability=float(probabilities[place]),
            )
            known = progress.best.get(row)
            if known is None or scores.probability > known.scores.probability:
                progress.best[row] = Candidate(article, found.phrasings[place], scores)


def routes_of(corpus: Corpus, question: Question) -> tuple[Language, ...]:
    """The languages that a question is asked in, its own first."""
    own = question.language
    return LANGUAGES if question.mixed or not corpus.shelves[own].articles else (own,)


def finds_more(corpus: Corpus, language: Language) -> bool:
    """Whether a language finds articles that the other one does not."""
    return corpus.shelves[language].articles > corpus.shelves[other(language)].articles


def is_doubtful(progress: Progress) -> bool:
    """Whether nothing that has been found is likely."""
    return all(each.scores.probability < DOUBTFUL for each in progress.best.values())


def search(
    segments: Sequence[Segment],
    usable: Sequence[BoolArray],
    question_tokens: Sequence[str],
    meaning: Meaning | None,
    depth: int,
    lexical_share: float,
    language: Language,
) -> Found:
    """The `depth` articles that are best by words and the `depth` nearest in meaning, with all that is known of each.

    `usable`: of each segment, which articles may be found there: bool [articles of the segment].
    """
    denses = [each.dense.get(meaning.version) if meaning is not None else None for each in segments]
    words = score([each.postings for each in segments], question_tokens)
    by_words = np.zeros(1 + max((int(each.rows.max()) for each in segments), default=-1), np.float32)
    for segment, mask, scores in zip(segments, usable, words.by_segment, strict=True):
        by_words[segment.rows[mask]] = segment.best_by_article(scores)[mask]
    rows = [_greatest(by_words, depth)]
    by_meaning: list[tuple[Int64Array, Float32Array]] = []
    for segment, mask, dense in zip(segments, usable, denses, strict=True):
        if meaning is not None and dense is not None:
            by_meaning.append(nearest(segment, mask, dense, meaning, depth))
    if by_meaning:
        cosines = np.concatenate([each for _, each in by_meaning])
        rows.append(np.concatenate([each for each, _ in by_meaning])[np.argsort(-cosines, kind="stable")[:depth]])
    wanted = np.zeros(len(by_words), np.bool_)
    wanted[np.concatenate(rows)] = True
    known: list[_Known] = []
    for segment, mask, dense, scores in zip(segments, usable, denses, words.by_segment, strict=True):
        places = np.flatnonzero(mask & wanted[segment.rows]).tolist()
        vector = dense.centred(meaning.vector) if meaning is not None and dense is not None else None
        known += [_known(segment, place, scores, dense, vector, language) for place in places]
    encoder = meaning.encoder if meaning is not None and by_meaning else ""
    return _found(encoder, known, question_tokens, words.attainable, lexical_share)


def nearest(
    segment: Segment, usable: BoolArray, dense: DenseSegment, meaning: Meaning, depth: int
) -> tuple[Int64Array, Float32Array]:
    """The articles (rows of the corpus) with the `depth` nearest phrasings of distinct ones, and those cosines."""
    vector, count = dense.centred(meaning.vector), NEAREST
    while True:
        phrasings, cosines = dense.search(vector, count)
        places = segment.article_of(phrasings)
        mine = usable[places]
        distinct, first = np.unique(places[mine], return_index=True)
        if len(distinct) >= depth or count >= len(dense):
            return segment.rows[distinct], cosines[mine][first]
        count *= 4


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one candidate."""

    row: int
    phrasing: str
    tokens: frozenset[str]
    lexical: float
    dense: float = 0.0
    neighbours: float = 0.0
    centre: float = 0.0
    discriminant: float = -math.inf


def _known(
    segment: Segment,
    place: int,
    lexical: Float32Array,
    dense: DenseSegment | None,
    vector: Float32Array | None,
    language: Language,
) -> _Known:
    """`vector`: the question's, centred as `dense` is; both None where the segment has no vectors to compare with."""
    start, end = segment.starts[place : place + 2].tolist()
    words = lexical[start:end]
    if dense is None or vector is None:
        phrasing = segment.phrasings[start + int(words.argmax())]
        return _Known(
            row=int(segment.rows[place]),
            phrasing=phrasing,
            tokens=frozenset(tokens(phrasing, language)),
            lexical=float(words.max()),
        )
    cosines = dense.vectors[start:end] @ vector
    nearest_few = np.partition(cosines, -NEIGHBOURS)[-NEIGHBOURS:] if len(cosines) > NEIGHBOURS else cosines
    phrasing = segment.phrasings[start + int(cosines.argmax())]
    return _Known(
        row=int(segment.rows[place]),
        phrasing=phrasing,
        tokens=frozenset(tokens(phrasing, language)),
        lexical=float(words.max()),
        dense=float(cosines.max()),
        neighbours=float(nearest_few.sum()) / len(nearest_few),
        centre=float(cosines.sum()) / (end - start) / float(dense.mean_lengths[place]),
        discriminant=float(dense.directions[place] @ vector + dense.offsets[place])
        if len(dense.offsets)
        else -math.inf,
    )


def _found(
    encoder: str, known: Sequence[_Known], question_tokens: Iterable[str], attainable: float, lexical_share: float
) -> Found:
    asked = frozenset(question_tokens)
    lexical, dense = _column(known, "lexical"), _column(known, "dense")
    fused = lexical_share * _scaled(lexical) + (1.0 - lexical_share) * _scaled(dense) if encoder else _scaled(lexical)
    columns: Mapping[str, Float32Array] = {
        "lexical": lexical / np.float32(max(attainable, 1e-6)),
        "overlap": np.array([_jaccard(asked, each.tokens) for each in known], np.float32),
        "length": np.full(len(known), np.log1p(len(asked)), np.float32),
        "dense": dense,
        "neighbours": _column(known, "neighbours"),
        "centre": _column(known, "centre"),
        "discriminant": _log_shares(_column(known, "discriminant")),
    }
    return Found(
        encoder=encoder,
        rows=np.array([each.row for each in known], np.int64),
        phrasings=[each.phrasing for each in known],
        lexical=lexical,
        dense=dense,
        fused=fused,
        features=np.stack([columns[name] for name in FEATURES], axis=1),
    )


def _greatest(scores: Float32Array, count: int) -> Int64Array:
    """The places of the `count` greatest that are above zero, in no order."""
    found = np.flatnonzero(scores)
    return found if len(found) <= count else found[np.argpartition(scores[found], -count)[-count:]]


def _column(known: Sequence[_Known], name: str) -> Float32Array:
    return np.array([getattr(each, name) for each in known], np.float32)


def _scaled(scores: Float32Array) -> Float32Array:
    """To the question's range: the best is 1, 0 stays."""
    return scores / np.float32(max(float(scores.max(initial=0.0)), 1e-6))


def _log_shares(logits: Float32Array) -> Float32Array:
    """The logarithms of their softmax, the least held at `LEAST_SHARE`; zeros where there is none at all."""
    if np.isneginf(logits).all():
        return np.zeros_like(logits)
    moved = logits - logits.max()
    shares: Float32Array = np.maximum(moved - np.log(np.exp(moved).sum()), LEAST_SHARE)
    return shares


def _jaccard(one: frozenset[str], another: frozenset[str]) -> float:
    return len(one & another) / max(len(one | another), 1)
