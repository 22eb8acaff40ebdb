import datetime

from casebook.catalogue.v1 import catalogue_pb2 as _catalogue_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Channel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_UNSPECIFIED: _ClassVar[Channel]
    CHANNEL_DSSM: _ClassVar[Channel]
    CHANNEL_ITEM_TO_ITEM: _ClassVar[Channel]
    CHANNEL_POPULAR: _ClassVar[Channel]
    CHANNEL_NEW_ITEM: _ClassVar[Channel]
CHANNEL_UNSPECIFIED: Channel
CHANNEL_DSSM: Channel
CHANNEL_ITEM_TO_ITEM: Channel
CHANNEL_POPULAR: Channel
CHANNEL_NEW_ITEM: Channel

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "session_id", "limit", "exclude_item_ids", "category", "explain")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    session_id: str
    limit: int
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    category: str
    explain: bool
    def __init__(self, user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., limit: _Optional[int] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., category: _Optional[str] = ..., explain: _Optional[bool] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("recommendation_id", "items", "versions", "degraded", "stages", "arm", "history_length")
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    HISTORY_LENGTH_FIELD_NUMBER: _ClassVar[int]
    recommendation_id: str
    items: _containers.RepeatedCompositeFieldContainer[RecommendedItem]
    versions: Versions
    degraded: _containers.RepeatedScalarFieldContainer[str]
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    arm: str
    history_length: int
    def __init__(self, recommendation_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[RecommendedItem, _Mapping]]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., degraded: _Optional[_Iterable[str]] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., arm: _Optional[str] = ..., history_length: _Optional[int] = ...) -> None: ...

class RecommendedItem(_message.Message):
    __slots__ = ("item_id", "title", "categories", "year", "score", "reason", "propensity", "exploration", "explanation")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    YEAR_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    title: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    year: int
    score: float
    reason: str
    propensity: float
    exploration: bool
    explanation: Explanation
    def __init__(self, item_id: _Optional[str] = ..., title: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., year: _Optional[int] = ..., score: _Optional[float] = ..., reason: _Optional[str] = ..., propensity: _Optional[float] = ..., exploration: _Optional[bool] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("channels", "ranker_score", "recall_rank", "ranking_rank", "final_rank", "reranking", "features")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    RANKER_SCORE_FIELD_NUMBER: _ClassVar[int]
    RECALL_RANK_FIELD_NUMBER: _ClassVar[int]
    RANKING_RANK_FIELD_NUMBER: _ClassVar[int]
    FINAL_RANK_FIELD_NUMBER: _ClassVar[int]
    RERANKING_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedCompositeFieldContainer[ChannelScore]
    ranker_score: float
    recall_rank: int
    ranking_rank: int
    final_rank: int
    reranking: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.ScalarMap[str, float]
    def __init__(self, channels: _Optional[_Iterable[_Union[ChannelScore, _Mapping]]] = ..., ranker_score: _Optional[float] = ..., recall_rank: _Optional[int] = ..., ranking_rank: _Optional[int] = ..., final_rank: _Optional[int] = ..., reranking: _Optional[_Iterable[str]] = ..., features: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ChannelScore(_message.Message):
    __slots__ = ("channel", "score", "because_of_item_id")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_OF_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    score: float
    because_of_item_id: str
    def __init__(self, channel: _Optional[_Union[Channel, str]] = ..., score: _Optional[float] = ..., because_of_item_id: _Optional[str] = ...) -> None: ...

class Versions(_message.Message):
    __slots__ = ("user_tower", "ranker", "index", "index_age_seconds", "feature_age_seconds")
    USER_TOWER_FIELD_NUMBER: _ClassVar[int]
    RANKER_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    user_tower: str
    ranker: str
    index: str
    index_age_seconds: float
    feature_age_seconds: float
    def __init__(self, user_tower: _Optional[str] = ..., ranker: _Optional[str] = ..., index: _Optional[str] = ..., index_age_seconds: _Optional[float] = ..., feature_age_seconds: _Optional[float] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("name", "milliseconds", "candidates")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    name: str
    milliseconds: float
    candidates: int
    def __init__(self, name: _Optional[str] = ..., milliseconds: _Optional[float] = ..., candidates: _Optional[int] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("user_id", "session_id", "limit")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    session_id: str
    limit: int
    def __init__(self, user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("item", "occurred_at", "action")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    item: _catalogue_pb2.Item
    occurred_at: _timestamp_pb2.Timestamp
    action: str
    def __init__(self, item: _Optional[_Union[_catalogue_pb2.Item, _Mapping]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., action: _Optional[str] = ...) -> None: ...

class UpsertItemRequest(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: _catalogue_pb2.Item
    def __init__(self, item: _Optional[_Union[_catalogue_pb2.Item, _Mapping]] = ...) -> None: ...

class UpsertItemResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: _catalogue_pb2.Item
    def __init__(self, item: _Optional[_Union[_catalogue_pb2.Item, _Mapping]] = ...) -> None: ...

class GetItemRequest(_message.Message):
    __slots__ = ("item_id",)
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    def __init__(self, item_id: _Optional[str] = ...) -> None: ...

class GetItemResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: _catalogue_pb2.Item
    def __init__(self, item: _Optional[_Union[_catalogue_pb2.Item, _Mapping]] = ...) -> None: ...

class RetireItemRequest(_message.Message):
    __slots__ = ("item_id",)
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    def __init__(self, item_id: _Optional[str] = ...) -> None: ...

class RetireItemResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class User(_message.Message):
    __slots__ = ("user_id", "age", "gender", "occupation")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    GENDER_FIELD_NUMBER: _ClassVar[int]
    OCCUPATION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    age: int
    gender: str
    occupation: str
    def __init__(self, user_id: _Optional[str] = ..., age: _Optional[int] = ..., gender: _Optional[str] = ..., occupation: _Optional[str] = ...) -> None: ...

class UpsertUserRequest(_message.Message):
    __slots__ = ("user",)
    USER_FIELD_NUMBER: _ClassVar[int]
    user: User
    def __init__(self, user: _Optional[_Union[User, _Mapping]] = ...) -> None: ...

class UpsertUserResponse(_message.Message):
    __slots__ = ("user", "segment")
    USER_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    user: User
    segment: str
    def __init__(self, user: _Optional[_Union[User, _Mapping]] = ..., segment: _Optional[str] = ...) -> None: ...
