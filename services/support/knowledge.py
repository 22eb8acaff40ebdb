"""Articles, and who may be answered with them when."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
PUBLIC = "public"
"""The audience that everyone belongs to."""


@dataclass(frozen=True, slots=True)
class Article:
    """An article in its newest state. Titles, answers and phrasings are there in one language at least."""

    article_id: str
    title: Mapping[Language, str]
    answer: Mapping[Language, str]
    phrasings: Mapping[Language, tuple[str, ...]]
    """What customers say when they want this. The title is searched beside them."""
    tags: tuple[str, ...] = ()
    audience: str = PUBLIC
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    revision: int = 0
    updated_at: datetime | None = None
    retired: bool = False

    def may_answer(self, now: datetime, audiences: Set[str]) -> bool:
        """Whether the article may be shown to somebody who belongs to `audiences` (and to the public) at `now`."""
        if self.retired or (self.audience != PUBLIC and self.audience not in audiences):
            return False
        begun = self.valid_from is None or self.valid_from <= now
        return begun and (self.valid_to is None or now < self.valid_to)

    def in_language(self, texts: Mapping[Language, str], language: Language) -> str:
        """The text in `language`, else in the other one."""
        return texts.get(language) or next(text for each in LANGUAGES if (text := texts.get(each)))


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question whose answer is known: it calibrates, and is never indexed."""

    question: str
    language: Language
    article_id: str | None
    """The article that answers it; None: out of scope."""
    from_feedback: bool = False
    wrong_article_id: str | None = None
    """Only this is known, that this article does not answer it; then `article_id` says nothing."""


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """Names one: tenants see nothing of each other."""

    tenant: str
    name: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Why a candidate stands where it stands."""

    lexical: float = 0.0
    """BM25 of the article's best phrasing; 0 where it was not found by words."""
    dense: float = 0.0
    """Cosine of the mean-centred vectors of the best phrasing; 0 where it was not found by meaning."""
    fused: float = 0.0
    """Both, each scaled to the query's range, by the weight in force."""
    reranked: float = 0.0
    """What the reranker makes of them: a logit."""
    probability: float = 0.0
    """The calibrated probability that this article answers the question."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An article that may answer."""

    article: Article
    phrasing: str
    """The article's phrasing that was nearest."""
    scores: Scores


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage took."""

    name: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What the knowledge base has for a question; `candidates` are distinct articles, best first."""

    question: str
    language: Language
    candidates: tuple[Candidate, ...]
    encoders: tuple[str, ...] = ()
    """ "<model>/<version>" of each encoder that took part."""
    index: int = 0
    """The newest change up to which all are in the index: the sum of its articles' revisions, the same on every replica
    that has the same articles."""
    reranker: str = ""
    degraded: tuple[str, ...] = field(default=())
    """What could not take part: "model" means BM25 alone."""
    stages: tuple[StageTime, ...] = ()


def came_together(changed: Sequence[Article]) -> bool:
    """Whether the articles that one call has changed are an import, behind which no change by itself should wait."""
    return len(changed) > 1
