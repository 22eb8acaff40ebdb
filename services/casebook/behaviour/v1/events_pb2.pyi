import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_IMPRESSION: _ClassVar[Action]
    ACTION_CLICK: _ClassVar[Action]
    ACTION_LIKE: _ClassVar[Action]
    ACTION_DISLIKE: _ClassVar[Action]
    ACTION_RATE: _ClassVar[Action]
ACTION_UNSPECIFIED: Action
ACTION_IMPRESSION: Action
ACTION_CLICK: Action
ACTION_LIKE: Action
ACTION_DISLIKE: Action
ACTION_RATE: Action

class BehaviourEvent(_message.Message):
    __slots__ = ("user_id", "session_id", "item_id", "action", "occurred_at", "recommendation_id", "rating")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    session_id: str
    item_id: str
    action: Action
    occurred_at: _timestamp_pb2.Timestamp
    recommendation_id: str
    rating: float
    def __init__(self, user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., item_id: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., recommendation_id: _Optional[str] = ..., rating: _Optional[float] = ...) -> None: ...
