import datetime

from casebook.recommender.v1 import recommender_pb2 as _recommender_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecommendationServed(_message.Message):
    __slots__ = ("recommendation_id", "user_id", "session_id", "served_at", "items", "versions", "arm", "history_item_ids", "feature_names", "degraded")
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SERVED_AT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    HISTORY_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_NAMES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    recommendation_id: str
    user_id: str
    session_id: str
    served_at: _timestamp_pb2.Timestamp
    items: _containers.RepeatedCompositeFieldContainer[ServedItem]
    versions: _recommender_pb2.Versions
    arm: str
    history_item_ids: _containers.RepeatedScalarFieldContainer[str]
    feature_names: _containers.RepeatedScalarFieldContainer[str]
    degraded: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, recommendation_id: _Optional[str] = ..., user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., served_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., items: _Optional[_Iterable[_Union[ServedItem, _Mapping]]] = ..., versions: _Optional[_Union[_recommender_pb2.Versions, _Mapping]] = ..., arm: _Optional[str] = ..., history_item_ids: _Optional[_Iterable[str]] = ..., feature_names: _Optional[_Iterable[str]] = ..., degraded: _Optional[_Iterable[str]] = ...) -> None: ...

class ServedItem(_message.Message):
    __slots__ = ("item_id", "position", "score", "propensity", "exploration", "channels", "features")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    position: int
    score: float
    propensity: float
    exploration: bool
    channels: _containers.RepeatedScalarFieldContainer[_recommender_pb2.Channel]
    features: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, item_id: _Optional[str] = ..., position: _Optional[int] = ..., score: _Optional[float] = ..., propensity: _Optional[float] = ..., exploration: _Optional[bool] = ..., channels: _Optional[_Iterable[_Union[_recommender_pb2.Channel, str]]] = ..., features: _Optional[_Iterable[float]] = ...) -> None: ...
