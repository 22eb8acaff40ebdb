"""The API's requests and answers, each with its bounds: nothing passes that a service would have to refuse."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.convertors import PathConvertor, register_url_convertor

from chassis.identity import Role

NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]+$"
UUID7 = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"

Id = Annotated[
    str,
    Field(min_length=1, max_length=128, pattern=NO_CONTROL_CHARACTERS, description="Opaque; no control characters."),
]


class IdConvertor(PathConvertor):
    """An `Id` in a path, written `{item_id:id}`: it may hold slashes, and what it may not hold is refused by name.

    Starlette's own `path` ends at a line feed, so that an id with one would be a page that does not exist.
    """

    regex = r"[\s\S]*"


register_url_convertor("id", IdConvertor())

Label = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_CONTROL_CHARACTERS)]
Uuid7 = Annotated[str, Field(pattern=UUID7, description="A UUIDv7 (RFC 9562) in lower case.")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}$", description="A version in the model repository.")]
Reason = Annotated[str, Field(max_length=500, description="Why, for the record.")]

EXAMPLE_UUID = "0192f5c4-6d1e-7cc2-b1f4-3a1f0c9d2e77"


class Request(BaseModel):
    """What a client sends: a field that is not known here is a mistake, and said to be one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Actor(Request):
    """A known user, an anonymous session, or both when a session has signed in."""

    user_id: Id | None = None
    session_id: Id | None = None

    @model_validator(mode="after")
    def somebody(self) -> Self:
        """At least one of the two."""
        if self.user_id is None and self.session_id is None:
            raise ValueError("user_id or session_id is needed")
        return self


# Recommendations


class RecommendationRequest(Actor):
    """Whom to recommend to, and what not."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["user_id"]}, {"required": ["session_id"]}],
            "examples": [{"user_id": "196", "limit": 5, "exclude_item_ids": ["242"], "explain": True}],
        }
    )

    limit: int = Field(10, ge=1, le=100, description="How many items at most.")
    exclude_item_ids: list[Id] = Field([], max_length=1000, description="Items that must not come back.")
    category: Label | None = Field(None, description="Only items of this category.")
    explain: bool = Field(False, description="Adds to every item how it came here, and the time of every stage.")


class ChannelScore(Answer):
    """A recall channel that found the item."""

    channel: Literal["dssm", "item_to_item", "popular", "new_item", "unspecified"]
    score: float
    because_of_item_id: str | None = None
    """The item that led here."""


class Explanation(Answer):
    """How an item came to its place."""

    channels: list[ChannelScore]
    ranker_score: float
    recall_rank: int
    ranking_rank: int
    final_rank: int
    reranking: list[str]
    """What re-ranking did, in words."""
    features: dict[str, float]
    """The features as the ranker saw them."""


class RecommendedItem(Answer):
    """One item of an answer."""

    item_id: str
    title: str
    categories: list[str]
    year: int | None
    score: float
    """The ranker's probability, or the recall score when ranking was not available."""
    reason: str
    """One sentence for people."""
    propensity: float
    """The probability with which this item was put here; below 1 in an exploration slot."""
    exploration: bool
    explanation: Explanation | None = None


class Versions(Answer):
    """What the answer was made with."""

    user_tower: str
    ranker: str
    index: str
    index_age_seconds: float
    feature_age_seconds: float | None
    """Seconds since the newest event in the live sequence; null without one."""


class Stage(Answer):
    """One stage of the pipeline."""

    name: str
    milliseconds: float
    candidates: int


class Recommendations(Answer):
    """The best items for somebody, now."""

    recommendation_id: str
    """Send it back with every event that this answer led to."""
    items: list[RecommendedItem]
    versions: Versions
    degraded: list[str]
    """The fallbacks that were taken, in words; empty when every stage did its work."""
    stages: list[Stage]
    arm: str
    """The experiment's arm."""
    history_length: int


# Events


class Event(Actor):
    """What somebody did with an item."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["user_id"]}, {"required": ["session_id"]}],
            "examples": [{"user_id": "196", "item_id": "302", "action": "click", "recommendation_id": EXAMPLE_UUID}],
        }
    )

    id: Uuid7 | None = Field(
        None, description="A UUIDv7 that makes sending the event again harmless. Without it the gateway makes one."
    )
    item_id: Id
    action: Literal["impression", "click", "like", "dislike", "rate"]
    occurred_at: AwareDatetime | None = Field(
        None, description="When it happened: not before 7 days ago, not after 5 minutes from now. Without it: now."
    )
    recommendation_id: Uuid7 | None = Field(None, description="The recommendation that showed the item.")
    rating: float | None = Field(None, ge=1, le=5, description="Stars; with the action `rate` only.")

    @model_validator(mode="after")
    def rating_belongs_to_rate(self) -> Self:
        """Stars come with `rate`, and only with it."""
        if (self.action == "rate") != (self.rating is not None):
            raise ValueError("rating goes with the action rate, and only with it")
        return self


class EventBatch(Request):
    """Up to 500 events; all are accepted, or none is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"events": [{"user_id": "196", "item_id": "302", "action": "click"}]}]}
    )

    events: list[Event] = Field(min_length=1, max_length=500)


class EventAccepted(Answer):
    """The broker has acknowledged the event."""

    id: str


class EventsAccepted(Answer):
    """The broker has acknowledged every event; the ids stand in the order in which the events came."""

    ids: list[str]


# Catalogue and users


class ItemContent(Request):
    """What an item is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Heat (1995)", "categories": ["Action", "Crime"], "year": 1995}]}
    )

    title: str = Field(min_length=1, max_length=500, pattern=NO_CONTROL_CHARACTERS)
    categories: list[Label] = Field([], max_length=16)
    year: int | None = Field(None, ge=1, le=9999, description="Year of release.")


class Item(Answer):
    """An item of the catalogue."""

    item_id: str
    title: str
    categories: list[str]
    year: int | None
    created_at: datetime | None
    revision: int
    """Grows by one with every change."""


class HistoryEntry(Answer):
    """One event of the live sequence."""

    item: Item
    occurred_at: datetime
    action: str


class History(Answer):
    """The live behaviour sequence that the next answer will be made from, newest first."""

    entries: list[HistoryEntry]


class UserProfile(Request):
    """What is known of a user. It chooses the segment for those without history."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"age": 27, "gender": "F", "occupation": "engineer"}]})

    age: int | None = Field(None, ge=1, le=130, description="Years.")
    gender: Literal["F", "M"] | None = None
    occupation: Label | None = None


class User(Answer):
    """A user, and the segment that the profile falls into."""

    user_id: str
    age: int | None
    gender: str | None
    occupation: str | None
    segment: str


# Models


class Promotion(Request):
    """The version that becomes stable."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "2", "reason": "CTR up 2 % in the canary"}]})

    version: Version
    reason: Reason = ""


class RollingBack(Request):
    """Why the model goes back."""

    reason: Reason = ""


class Canary(Request):
    """The version that gets a share of the traffic, sticky by key. Share 0 ends the canary."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "2", "share": 0.2, "reason": "try it"}]})

    version: Version
    share: float = Field(ge=0, le=1)
    reason: Reason = ""


class Shadow(Request):
    """The version that runs beside the stable one and never answers. Without a version the shadow ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "2"}]})

    version: Version | None = None
    reason: Reason = ""


class ReplicaState(Answer):
    """How far one replica of the model server is."""

    replica: str
    generation: int
    error: str
    """Why it could not take the generation; it goes on serving the one before."""
    seen_at: datetime | None


class Release(Answer):
    """Which version of a model answers."""

    model: str
    stable: str
    canary: str | None
    canary_share: float
    shadow: str | None
    previous: str | None
    generation: int
    """Grows by one with every change."""
    changed_at: datetime | None
    changed_by: str
    complete: bool
    """Every ready replica serves this generation."""
    replicas: list[ReplicaState]


class Model(Answer):
    """A model with its release and the versions in the repository."""

    name: str
    versions: list[str]
    release: Release


class Models(Answer):
    """Every model."""

    models: list[Model]


class Change(Answer):
    """One change of a release."""

    model: str
    action: str
    after: Release
    changed_by: str
    changed_at: datetime | None
    reason: str


class Changes(Answer):
    """Who changed what, when; newest first."""

    changes: list[Change]


# API keys

GraceSeconds = Annotated[int, Field(ge=0, le=30 * 86_400, description="How long the key works yet, in seconds.")]


class NewKey(Request):
    """A key for an application or a person of your own tenant."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"principal": "storefront", "roles": ["viewer"]}]})

    principal: Id = Field(description="Who acts with this key, as it will stand in every record.")
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    expires_in_days: int | None = Field(None, ge=1, le=3650, description="Without it: never.")


class Rotation(Request):
    """How long the old key goes on beside the new one, and how long the new one lives."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 3600}]})

    grace_seconds: GraceSeconds = 86_400
    expires_in_days: int | None = Field(None, ge=1, le=3650, description="Of the new key; without it: never.")


class Key(Answer):
    """An API key without its secret, which only its holder has."""

    key_id: str
    """The part of the key between its two underscores."""
    tenant: str
    principal: str
    roles: list[Role]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    """When it was, or will be, revoked."""


class CreatedKey(Key):
    """A new key. The secret is in this answer and nowhere else: it cannot be shown again."""

    key: str


class Keys(Answer):
    """Your tenant's keys, newest first, at most 500."""

    keys: list[Key]


# Audit


class AuditRecord(Answer):
    """Something that an administrator or operator asked for."""

    call_id: str
    called_at: datetime
    principal: str
    key_id: str
    method: str
    path: str
    request: str
    """The body, at most 2,000 characters of it."""
    status: int | None
    """What it was answered with; null while it runs, and where the gateway died before it had an answer."""
    note: str
    """What came of it, where the request does not say."""
    trace_id: str


class AuditRecords(Answer):
    """Your tenant's record, newest first. `before` asks for the next page with the last `call_id`."""

    records: list[AuditRecord]


# Problems and health


class FieldError(Answer):
    """A field that breaks its limit."""

    field: str
    limit: str
    message: str
    received: str | None = None


class ProblemDetails(Answer):
    """RFC 9457 problem details."""

    type: str
    """`urn:casebook:problem:<name>`, for programs."""
    title: str
    status: int
    detail: str
    """What was wrong this time, and the way out."""
    instance: str
    """The request's path."""
    trace_id: str
    """The trace to look at, or to name in a report."""
    errors: list[FieldError] = []


class Health(Answer):
    """Whether the process lives, or may be sent work."""

    status: Literal["live", "ready", "not ready"]
    reasons: dict[str, str] = {}
