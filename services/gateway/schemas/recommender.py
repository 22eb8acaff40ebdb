"""Recommendations, events, the catalogue and users."""

from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from gateway.schemas.fields import EXAMPLE_UUID, NO_CONTROL_CHARACTERS, Answer, Id, Label, Request, Uuid7


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
