"""Recommendations, events, the catalogue and users."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, cast

from google.protobuf.timestamp_pb2 import Timestamp

from casebook.behaviour.v1 import events_pb2 as behaviour
from casebook.catalogue.v1 import catalogue_pb2 as catalogue
from casebook.recommender.v1 import recommender_pb2 as recommender
from gateway.schemas import recommender as schemas
from gateway.translation.scalars import decimal, time

ChannelName = Literal["dssm", "item_to_item", "popular", "new_item", "unspecified"]


_ACTIONS: Mapping[str, behaviour.Action] = {
    "impression": behaviour.ACTION_IMPRESSION,
    "click": behaviour.ACTION_CLICK,
    "like": behaviour.ACTION_LIKE,
    "dislike": behaviour.ACTION_DISLIKE,
    "rate": behaviour.ACTION_RATE,
}


def recommend_request(request: schemas.RecommendationRequest) -> recommender.RecommendRequest:
    """The recommender's request."""
    return recommender.RecommendRequest(
        user_id=request.user_id or "",
        session_id=request.session_id or "",
        limit=request.limit,
        exclude_item_ids=request.exclude_item_ids,
        category=request.category or "",
        explain=request.explain,
    )


def recommendations(response: recommender.RecommendResponse) -> schemas.Recommendations:
    """The recommender's answer."""
    return schemas.Recommendations(
        recommendation_id=response.recommendation_id,
        items=[_recommended(item) for item in response.items],
        versions=_versions(response.versions),
        degraded=list(response.degraded),
        stages=[
            schemas.Stage(name=stage.name, milliseconds=decimal(stage.milliseconds), candidates=stage.candidates)
            for stage in response.stages
        ],
        arm=response.arm,
        history_length=response.history_length,
    )


def item(message: catalogue.Item) -> schemas.Item:
    """An item of the catalogue."""
    return schemas.Item(
        item_id=message.item_id,
        title=message.title,
        categories=list(message.categories),
        year=message.year or None,
        created_at=time(message.created_at) if message.HasField("created_at") else None,
        revision=message.revision,
    )


def history(response: recommender.GetHistoryResponse) -> schemas.History:
    """The live sequence, newest first."""
    return schemas.History(
        entries=[
            schemas.HistoryEntry(item=item(entry.item), occurred_at=time(entry.occurred_at), action=entry.action)
            for entry in response.entries
        ]
    )


def user_message(user_id: str, profile: schemas.UserProfile) -> recommender.User:
    """The recommender's user."""
    return recommender.User(
        user_id=user_id, age=profile.age or 0, gender=profile.gender or "", occupation=profile.occupation or ""
    )


def user(response: recommender.UpsertUserResponse) -> schemas.User:
    """A user with the segment."""
    stored = response.user
    return schemas.User(
        user_id=stored.user_id,
        age=stored.age or None,
        gender=stored.gender or None,
        occupation=stored.occupation or None,
        segment=response.segment,
    )


def behaviour_event(event: schemas.Event, occurred_at: datetime) -> behaviour.BehaviourEvent:
    """The message on `behaviour.events.v1`."""
    timestamp = Timestamp()
    timestamp.FromDatetime(occurred_at.astimezone(UTC))
    return behaviour.BehaviourEvent(
        user_id=event.user_id or "",
        session_id=event.session_id or "",
        item_id=event.item_id,
        action=_ACTIONS[event.action],
        occurred_at=timestamp,
        recommendation_id=event.recommendation_id or "",
        rating=event.rating or 0.0,
    )


def _recommended(message: recommender.RecommendedItem) -> schemas.RecommendedItem:
    return schemas.RecommendedItem(
        item_id=message.item_id,
        title=message.title,
        categories=list(message.categories),
        year=message.year or None,
        score=decimal(message.score),
        reason=message.reason,
        propensity=decimal(message.propensity),
        exploration=message.exploration,
        explanation=_explanation(message.explanation) if message.HasField("explanation") else None,
    )


def _explanation(message: recommender.Explanation) -> schemas.Explanation:
    return schemas.Explanation(
        channels=[
            schemas.ChannelScore(
                channel=_channel(found.channel),
                score=decimal(found.score),
                because_of_item_id=found.because_of_item_id or None,
            )
            for found in message.channels
        ],
        ranker_score=decimal(message.ranker_score),
        recall_rank=message.recall_rank,
        ranking_rank=message.ranking_rank,
        final_rank=message.final_rank,
        reranking=list(message.reranking),
        features={name: decimal(value) for name, value in sorted(message.features.items())},
    )


def _versions(message: recommender.Versions) -> schemas.Versions:
    age = message.feature_age_seconds
    return schemas.Versions(
        user_tower=message.user_tower,
        ranker=message.ranker,
        index=message.index,
        index_age_seconds=decimal(message.index_age_seconds),
        feature_age_seconds=None if age < 0 else decimal(age),
    )


def _channel(channel: recommender.Channel) -> ChannelName:
    return cast("ChannelName", recommender.Channel.Name(channel).removeprefix("CHANNEL_").lower())
