"""Smart support: conversations, the knowledge base, its quality, and the agents' desk."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, JsonValue, model_validator

from gateway.schemas.fields import EXAMPLE_UUID, Answer, Id, Label, Reason, Request

BaseName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$", description="The name of a knowledge base.")]
Language = Literal["en", "zh"]
LanguageGiven = Annotated[Language | None, Field(description="Without it: as detected.")]
Question = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"\S")]
Reply = Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"\S")]
NO_NUL = r"^[^\x00]*$"
Title = Annotated[str, Field(max_length=200, pattern=NO_NUL)]
LongText = Annotated[str, Field(max_length=4_000, pattern=NO_NUL)]
Phrasing = Annotated[str, Field(min_length=1, max_length=300, pattern=NO_NUL)]
TargetRisk = Annotated[float, Field(ge=0.001, le=0.5, description="The share of wrong answers that is accepted.")]
KINDS_OF_TURN = ("question", "picked_article_id", "none_of_these", "wants_person")


# Conversations


class SupportTurn(Request):
    """What the customer says in a turn, in one of four ways: a question, a pick, none of these, a person please."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [kind]} for kind in KINDS_OF_TURN],
            "examples": [{"knowledge_base": "bank", "customer_id": "c-17", "question": "And abroad?"}],
        }
    )

    knowledge_base: BaseName
    customer_id: Id | None = Field(None, description="Who asks; a conversation belongs to one. Without it: anonymous.")
    question: Question | None = None
    picked_article_id: Id | None = Field(None, description="One of the candidates that were asked back.")
    none_of_these: Literal[True] | None = Field(None, description="None of them.")
    wants_person: Literal[True] | None = Field(None, description="A person, please: hand over now.")
    language: LanguageGiven = None
    explain: bool = Field(False, description="Adds what was retrieved, with its scores, and the time of every stage.")
    audiences: list[Label] = Field([], max_length=8, description="Groups that the customer belongs to, beside public.")

    @model_validator(mode="after")
    def says_one_thing(self) -> Self:
        """Exactly one kind of turn."""
        if sum(getattr(self, kind) is not None for kind in KINDS_OF_TURN) != 1:
            raise ValueError(f"exactly one of {', '.join(KINDS_OF_TURN)} is needed")
        return self


class CandidateScores(Answer):
    """Why a candidate stands where it stands."""

    lexical: float
    """BM25 of the article's best phrasing; 0 where it was not found by words."""
    dense: float
    """Cosine of the mean-centred vectors; 0 where it was not found by meaning."""
    fused: float
    reranked: float
    probability: float
    """The calibrated probability that this article answers the question."""


class CandidateArticle(Answer):
    """An article that may answer."""

    article_id: str
    article_revision: int
    title: str
    matched_phrasing: str
    """The phrasing of the article that was nearest."""
    scores: CandidateScores


class SupportAnswer(CandidateArticle):
    """The article that answers, with its text. Plain text: markup in it is to be shown as text."""

    text: str


class AnswerThresholds(Answer):
    """In force for this turn."""

    answer: float
    """Answered from this probability on."""
    clarify: float
    """Asked back from this probability on; out of scope below."""
    target_risk: float
    """The share of wrong answers that the operator accepts, which `answer` follows from."""


class AnswerVersions(Answer):
    """What the turn was made with."""

    encoders: list[str]
    """`<model>/<version>` of each encoder that took part."""
    index: int
    """The sum of the revisions of the articles in the index: the same on every replica that has taken in the same
    changes."""
    reranker: str
    calibration: str
    """`default` before the first."""


class TurnStage(Answer):
    """One stage of a turn."""

    name: str
    milliseconds: float


class ConversationTurn(Answer):
    """Something said."""

    turn_id: str
    speaker: Literal["customer", "bot", "agent"]
    text: str
    at: datetime
    outcome: str | None
    """Of a turn of the bot."""
    article_id: str | None
    """The article that answered."""


class SuggestedArticle(Answer):
    """An article that the bot had in mind."""

    article_id: str
    title: str
    probability: float


class HandoffSummary(Answer):
    """What the agent reads first."""

    language: str
    question: str
    """The question that it is about, as the customer put it."""
    turns: list[ConversationTurn]
    tried_article_ids: list[str]
    """What the bot answered or asked back."""
    top_candidates: list[SuggestedArticle]


HandoffStateName = Literal["requested", "queued", "claimed", "resolved"]


class Handoff(Answer):
    """A conversation that needs a person."""

    handoff_id: str
    conversation_id: str
    knowledge_base: str
    customer_id: str | None
    state: HandoffStateName
    reason: Literal["asked_for", "failed_turns", "wrong_answers"]
    requested_at: datetime
    claimed_by: str | None
    lease_until: datetime | None
    resolved_at: datetime | None
    resolution: str | None
    revision: int
    """Grows by one with every change."""
    position: int | None
    """1 is next, while it is queued."""
    summary: HandoffSummary | None = None
    """At the desk only."""


class BotTurn(Answer):
    """What the customer reads, and what it was made from."""

    conversation_id: str | None
    """Send it back with the next turn. Null where nothing could be kept (`degraded` has `context`)."""
    turn_id: str
    outcome: Literal["answer", "clarify", "out_of_scope", "hand_off"]
    text: str
    language: str
    answer: SupportAnswer | None
    candidates: list[CandidateArticle]
    """With `clarify`, best first; none of these is a choice as well."""
    handoff: Handoff | None
    confidence: float
    """The calibrated probability that the best candidate answers; 0 where nothing was retrieved."""
    thresholds: AnswerThresholds | None
    versions: AnswerVersions
    degraded: list[str]
    """What could not take part: `model` (words alone), `context` (a single turn), `desk`, `feedback`."""
    retrieved: list[CandidateArticle]
    stages: list[TurnStage]


class Conversation(Answer):
    """What was said, oldest first."""

    conversation_id: str
    knowledge_base: str
    customer_id: str | None
    turns: list[ConversationTurn]
    handoff: Handoff | None
    degraded: list[str]


class TurnFeedback(Request):
    """What somebody thinks of a turn of the bot. The newest verdict counts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"turn_id": EXAMPLE_UUID, "verdict": "wrong", "correct_article_id": "card_arrival"}]
        }
    )

    turn_id: Id
    customer_id: Id | None = None
    verdict: Literal["helpful", "wrong"]
    correct_article_id: Id | None = Field(
        None, description="With `wrong`: the article that would have been right; `none` where none is."
    )
    comment: str = Field("", max_length=1_000, pattern=NO_NUL)

    @model_validator(mode="after")
    def correction_belongs_to_wrong(self) -> Self:
        """A correction comes with `wrong`, and only with it."""
        if self.correct_article_id is not None and self.verdict != "wrong":
            raise ValueError("correct_article_id goes with the verdict wrong, and only with it")
        return self


class FeedbackTaken(Answer):
    """The verdict is on record."""

    handoff: Handoff | None
    """Where it was the second failed turn in a row: a person was asked for."""


# The knowledge base


class TitleText(Request):
    """A title in each language that it is there in; at least one is."""

    en: Title = ""
    zh: Title = ""


class AnswerText(Request):
    """An answer in each language that it is there in; at least one is. Text, shown as text."""

    en: LongText = ""
    zh: LongText = ""


class ArticlePhrasings(Request):
    """What customers say when they want this: at most 2,000 in all."""

    en: list[Phrasing] = Field([], max_length=2_000)
    zh: list[Phrasing] = Field([], max_length=2_000)


EXAMPLE_ARTICLE: dict[str, JsonValue] = {
    "title": {"en": "How do I activate my card?", "zh": "收到卡后如何激活？"},
    "answer": {"en": "Open Cards in the app and choose Activate.", "zh": "打开 App 的“卡片”，选择“激活”。"},
    "phrasings": {"en": ["activate my card"], "zh": ["卡怎么激活"]},
    "tags": ["cards"],
}


class ArticleContent(Request):
    """What an article says."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ARTICLE]})

    title: TitleText
    answer: AnswerText
    phrasings: ArticlePhrasings = ArticlePhrasings()
    tags: list[Label] = Field([], max_length=16)
    audience: Annotated[str, Field(max_length=64, pattern=NO_NUL)] = Field(
        "public", description="Who may be answered with it; `public` is everyone."
    )
    valid_from: AwareDatetime | None = Field(None, description="Answers only from then on.")
    valid_to: AwareDatetime | None = Field(None, description="Answers only until then.")


class ArticleLine(ArticleContent):
    """An article with its id: a line of a file."""

    article_id: Id


class ExportedArticle(Answer):
    """A line of an export: what an article says."""

    article_id: str
    title: dict[str, str]
    answer: dict[str, str]
    phrasings: dict[str, list[str]]
    tags: list[str]
    audience: str
    valid_from: datetime | None
    valid_to: datetime | None


class Article(ExportedArticle):
    """An article as it is stored."""

    revision: int
    """Grows by one with every change."""
    updated_at: datetime | None
    retired: bool
    """It answers no more, until it is put again."""


class Articles(Answer):
    """A page of articles, by id. `after` asks for the next one with `next_after`."""

    articles: list[Article]
    next_after: str | None


class QuestionLine(Request):
    """A line of an import of labelled questions. They calibrate, and are never indexed."""

    question: Question
    language: Language | None = None
    article_id: Id | None = Field(None, description="The article that answers it. Without one it is out of scope.")


class Imported(Answer):
    """The whole file is in."""

    lines: int
    changed: int
    unchanged: int


class Draft(Answer):
    """An article that somebody proposes."""

    draft_id: str
    knowledge_base: str
    article: Article
    handoff_id: str | None
    """The hand-off that it came of."""
    proposed_at: datetime
    proposed_by: str


class Drafts(Answer):
    """Those that nobody has decided on, oldest first."""

    drafts: list[Draft]


class Approval(Request):
    """The draft becomes an article, as it is or as `edited`."""

    edited: ArticleLine | None = None


class Rejection(Request):
    """The draft is put away."""

    reason: Reason = ""


# Quality


class RiskCoveragePoint(Answer):
    """What answering from a probability on leads to."""

    threshold: float
    coverage: float
    """The share of the in-scope questions that is answered then."""
    risk: float
    """The share of wrong ones among all answers; an answer to a question that is out of scope is wrong."""


class Calibration(Answer):
    """How sure the answers of a knowledge base are in a language."""

    version: str
    """`default` before the first."""
    knowledge_base: str
    language: str
    fitted_at: datetime | None
    in_scope_questions: int
    out_of_scope_questions: int
    from_feedback: int
    """How many of them came of feedback."""
    expected_calibration_error: float
    target_risk: float


class RiskCoverage(Answer):
    """The calibration in force, its curve by falling threshold, and the threshold that a risk implies."""

    calibration: Calibration
    curve: list[RiskCoveragePoint]
    threshold: float
    """Answered from this probability on; above 1 where nothing keeps the risk, and then nothing is answered."""
    target_risk: float


class ChosenRisk(Request):
    """The share of wrong answers that is accepted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target_risk": 0.02}]})

    target_risk: TargetRisk
    language: Language | None = Field(None, description="Without it: both.")


class Calibrations(Answer):
    """One a language that has enough labelled questions (30 in scope, 10 out of scope)."""

    calibrations: list[Calibration]


# The agents' desk


class Handoffs(Answer):
    """Oldest first, without what was said."""

    handoffs: list[Handoff]


class Claim(Request):
    """For how long. Claiming one's own again renews it."""

    lease_seconds: int = Field(300, ge=10, le=3_600)


class AgentReply(Request):
    """What the agent says to the customer."""

    text: Reply


class DraftContent(Request):
    """An article that would have answered. What it lacks is filled in from the conversation."""

    article_id: Id | None = None
    title: TitleText = TitleText()
    answer: AnswerText = AnswerText()
    phrasings: ArticlePhrasings = ArticlePhrasings()
    tags: list[Label] = Field([], max_length=16)


class Resolution(Request):
    """What was done, for the record and for the customer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"resolution": "Sent a new card by courier."}]})

    resolution: Reply
    correct_article_id: Id | None = Field(None, description="The article that would have answered, where there is one.")
    draft: DraftContent | None = Field(None, description="One that would have, where there is none.")


class Resolved(Answer):
    """The conversation is the bot's again."""

    handoff: Handoff
    draft_id: str | None
