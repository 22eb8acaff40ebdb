"""The rows of the training sink: behaviour, and what was served."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import pyarrow as pa

from casebook.behaviour.v1 import events_pb2 as behaviour_pb2
from casebook.recommender.v1 import events_pb2 as served_pb2
from chassis.sink import Table
from recommender.events import BEHAVIOUR_TOPIC, SERVED_TOPIC

_BEHAVIOUR = (
    pa.field("user_id", pa.string()),
    pa.field("session_id", pa.string()),
    pa.field("item_id", pa.string()),
    pa.field("action", pa.string()),
    pa.field("rating", pa.float32()),
    pa.field("occurred_at", pa.timestamp("us", tz="UTC")),
    pa.field("recommendation_id", pa.string()),
)
_SERVED_ITEM = pa.struct(
    [
        pa.field("item_id", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("propensity", pa.float32()),
        pa.field("exploration", pa.bool_()),
        pa.field("channels", pa.list_(pa.int32())),
        pa.field("features", pa.list_(pa.float32())),
    ]
)
_SERVED = (
    pa.field("recommendation_id", pa.string()),
    pa.field("user_id", pa.string()),
    pa.field("session_id", pa.string()),
    pa.field("served_at", pa.timestamp("us", tz="UTC")),
    pa.field("arm", pa.string()),
    pa.field("user_tower", pa.string()),
    pa.field("ranker", pa.string()),
    pa.field("index", pa.string()),
    pa.field("history_item_ids", pa.list_(pa.string())),
    pa.field("feature_names", pa.list_(pa.string())),
    pa.field("degraded", pa.list_(pa.string())),
    pa.field("items", pa.list_(_SERVED_ITEM)),
)


def _behaviour_row(message: behaviour_pb2.BehaviourEvent) -> dict[str, Any]:
    return {
        "user_id": message.user_id,
        "session_id": message.session_id,
        "item_id": message.item_id,
        "action": behaviour_pb2.Action.Name(message.action).removeprefix("ACTION_").lower(),
        "rating": message.rating,
        "occurred_at": message.occurred_at.ToDatetime(UTC),
        "recommendation_id": message.recommendation_id,
    }


def _served_row(message: served_pb2.RecommendationServed) -> dict[str, Any]:
    return {
        "recommendation_id": message.recommendation_id,
        "user_id": message.user_id,
        "session_id": message.session_id,
        "served_at": message.served_at.ToDatetime(UTC),
        "arm": message.arm,
        "user_tower": message.versions.user_tower,
        "ranker": message.versions.ranker,
        "index": message.versions.index,
        "history_item_ids": list(message.history_item_ids),
        "feature_names": list(message.feature_names),
        "degraded": list(message.degraded),
        "items": [
            {
                "item_id": item.item_id,
                "position": item.position,
                "score": item.score,
                "propensity": item.propensity,
                "exploration": item.exploration,
                "channels": list(item.channels),
                "features": list(item.features),
            }
            for item in message.items
        ],
    }


TABLES: Mapping[str, Table] = {
    BEHAVIOUR_TOPIC: Table(behaviour_pb2.BehaviourEvent, _BEHAVIOUR, _behaviour_row),
    SERVED_TOPIC: Table(served_pb2.RecommendationServed, _SERVED, _served_row),
}
