"""Between the API's JSON and the services' protobuf."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, cast

from google.protobuf.timestamp_pb2 import Timestamp

from casebook.behaviour.v1 import events_pb2 as behaviour
from casebook.catalogue.v1 import catalogue_pb2 as catalogue
from casebook.recommender.v1 import recommender_pb2 as recommender
from casebook.releases.v1 import releases_pb2 as releases
from gateway import schemas

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
            schemas.Stage(name=stage.name, milliseconds=_decimal(stage.milliseconds), candidates=stage.candidates)
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
        created_at=_time(message.created_at) if message.HasField("created_at") else None,
        revision=message.revision,
    )


def history(response: recommender.GetHistoryResponse) -> schemas.History:
    """The live sequence, newest first."""
    return schemas.History(
        entries=[
            schemas.HistoryEntry(item=item(entry.item), occurred_at=_time(entry.occurred_at), action=entry.action)
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


def model(message: releases.Model) -> schemas.Model:
    """A model with its release."""
    return schemas.Model(name=message.name, versions=list(message.versions), release=release(message.release))


def release(message: releases.Release) -> schemas.Release:
    """Which version answers."""
    return schemas.Release(
        model=message.model,
        stable=message.stable,
        canary=message.canary or None,
        canary_share=message.canary_share,
        shadow=message.shadow or None,
        previous=message.previous or None,
        generation=message.generation,
        changed_at=_time(message.changed_at) if message.HasField("changed_at") else None,
        changed_by=message.changed_by,
        complete=message.complete,
        replicas=[
            schemas.ReplicaState(
                replica=replica.replica,
                generation=replica.generation,
                error=replica.error,
                seen_at=_time(replica.seen_at) if replica.HasField("seen_at") else None,
            )
            for replica in message.replicas
        ],
    )


def changes(response: releases.ListChangesResponse) -> schemas.Changes:
    """Who changed what, when; newest first."""
    return schemas.Changes(
        changes=[
            schemas.Change(
                model=change.model,
                action=change.action,
                after=release(change.after),
                changed_by=change.changed_by,
                changed_at=_time(change.changed_at) if change.HasField("changed_at") else None,
                reason=change.reason,
            )
            for change in response.changes
        ]
    )


def _recommended(message: recommender.RecommendedItem) -> schemas.RecommendedItem:
    return schemas.RecommendedItem(
        item_id=message.item_id,
        title=message.title,
        categories=list(message.categories),
        year=message.year or None,
        score=_decimal(message.score),
        reason=message.reason,
        propensity=_decimal(message.propensity),
        exploration=message.exploration,
        explanation=_explanation(message.explanation) if message.HasField("explanation") else None,
    )


def _explanation(message: recommender.Explanation) -> schemas.Explanation:
    return schemas.Explanation(
        channels=[
            schemas.ChannelScore(
                channel=_channel(found.channel),
                score=_decimal(found.score),
                because_of_item_id=found.because_of_item_id or None,
            )
            for found in message.channels
        ],
        ranker_score=_decimal(message.ranker_score),
        recall_rank=message.recall_rank,
        ranking_rank=message.ranking_rank,
        final_rank=message.final_rank,
        reranking=list(message.reranking),
        features={name: _decimal(value) for name, value in sorted(message.features.items())},
    )


def _versions(message: recommender.Versions) -> schemas.Versions:
    age = message.feature_age_seconds
    return schemas.Versions(
        user_tower=message.user_tower,
        ranker=message.ranker,
        index=message.index,
        index_age_seconds=_decimal(message.index_age_seconds),
        feature_age_seconds=None if age < 0 else _decimal(age),
    )


def _channel(channel: recommender.Channel) -> ChannelName:
    return cast("ChannelName", recommender.Channel.Name(channel).removeprefix("CHANNEL_").lower())


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)


def _decimal(value: float) -> float:
    """A float32 as the decimal number that it stands for: 0.1, not 0.10000000149011612 (7 digits are all it has)."""
    return float(f"{value:.7g}")
