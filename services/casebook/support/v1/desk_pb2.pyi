import datetime

from casebook.support.v1 import knowledge_pb2 as _knowledge_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HandoffState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HANDOFF_STATE_UNSPECIFIED: _ClassVar[HandoffState]
    HANDOFF_STATE_REQUESTED: _ClassVar[HandoffState]
    HANDOFF_STATE_QUEUED: _ClassVar[HandoffState]
    HANDOFF_STATE_CLAIMED: _ClassVar[HandoffState]
    HANDOFF_STATE_RESOLVED: _ClassVar[HandoffState]

class HandoffReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HANDOFF_REASON_UNSPECIFIED: _ClassVar[HandoffReason]
    HANDOFF_REASON_ASKED_FOR: _ClassVar[HandoffReason]
    HANDOFF_REASON_FAILED_TURNS: _ClassVar[HandoffReason]
    HANDOFF_REASON_WRONG_ANSWERS: _ClassVar[HandoffReason]

class Speaker(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEAKER_UNSPECIFIED: _ClassVar[Speaker]
    SPEAKER_CUSTOMER: _ClassVar[Speaker]
    SPEAKER_BOT: _ClassVar[Speaker]
    SPEAKER_AGENT: _ClassVar[Speaker]
HANDOFF_STATE_UNSPECIFIED: HandoffState
HANDOFF_STATE_REQUESTED: HandoffState
HANDOFF_STATE_QUEUED: HandoffState
HANDOFF_STATE_CLAIMED: HandoffState
HANDOFF_STATE_RESOLVED: HandoffState
HANDOFF_REASON_UNSPECIFIED: HandoffReason
HANDOFF_REASON_ASKED_FOR: HandoffReason
HANDOFF_REASON_FAILED_TURNS: HandoffReason
HANDOFF_REASON_WRONG_ANSWERS: HandoffReason
SPEAKER_UNSPECIFIED: Speaker
SPEAKER_CUSTOMER: Speaker
SPEAKER_BOT: Speaker
SPEAKER_AGENT: Speaker

class Handoff(_message.Message):
    __slots__ = ("handoff_id", "conversation_id", "knowledge_base", "customer_id", "state", "reason", "summary", "requested_at", "claimed_by", "lease_until", "resolved_at", "resolution", "revision", "position")
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_AT_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_BY_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_AT_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    conversation_id: str
    knowledge_base: str
    customer_id: str
    state: HandoffState
    reason: HandoffReason
    summary: Summary
    requested_at: _timestamp_pb2.Timestamp
    claimed_by: str
    lease_until: _timestamp_pb2.Timestamp
    resolved_at: _timestamp_pb2.Timestamp
    resolution: str
    revision: int
    position: int
    def __init__(self, handoff_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., knowledge_base: _Optional[str] = ..., customer_id: _Optional[str] = ..., state: _Optional[_Union[HandoffState, str]] = ..., reason: _Optional[_Union[HandoffReason, str]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., requested_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., claimed_by: _Optional[str] = ..., lease_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resolved_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resolution: _Optional[str] = ..., revision: _Optional[int] = ..., position: _Optional[int] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("language", "question", "turns", "tried_article_ids", "top_candidates")
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    TRIED_ARTICLE_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    language: str
    question: str
    turns: _containers.RepeatedCompositeFieldContainer[Turn]
    tried_article_ids: _containers.RepeatedScalarFieldContainer[str]
    top_candidates: _containers.RepeatedCompositeFieldContainer[SuggestedArticle]
    def __init__(self, language: _Optional[str] = ..., question: _Optional[str] = ..., turns: _Optional[_Iterable[_Union[Turn, _Mapping]]] = ..., tried_article_ids: _Optional[_Iterable[str]] = ..., top_candidates: _Optional[_Iterable[_Union[SuggestedArticle, _Mapping]]] = ...) -> None: ...

class SuggestedArticle(_message.Message):
    __slots__ = ("article_id", "title", "probability")
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    article_id: str
    title: str
    probability: float
    def __init__(self, article_id: _Optional[str] = ..., title: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("turn_id", "speaker", "text", "at", "outcome", "article_id")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    speaker: Speaker
    text: str
    at: _timestamp_pb2.Timestamp
    outcome: str
    article_id: str
    def __init__(self, turn_id: _Optional[str] = ..., speaker: _Optional[_Union[Speaker, str]] = ..., text: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[str] = ..., article_id: _Optional[str] = ...) -> None: ...

class ListHandoffsRequest(_message.Message):
    __slots__ = ("knowledge_base", "states", "limit")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    states: _containers.RepeatedScalarFieldContainer[HandoffState]
    limit: int
    def __init__(self, knowledge_base: _Optional[str] = ..., states: _Optional[_Iterable[_Union[HandoffState, str]]] = ..., limit: _Optional[int] = ...) -> None: ...

class ListHandoffsResponse(_message.Message):
    __slots__ = ("handoffs",)
    HANDOFFS_FIELD_NUMBER: _ClassVar[int]
    handoffs: _containers.RepeatedCompositeFieldContainer[Handoff]
    def __init__(self, handoffs: _Optional[_Iterable[_Union[Handoff, _Mapping]]] = ...) -> None: ...

class GetHandoffRequest(_message.Message):
    __slots__ = ("handoff_id",)
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    def __init__(self, handoff_id: _Optional[str] = ...) -> None: ...

class GetHandoffResponse(_message.Message):
    __slots__ = ("handoff",)
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    handoff: Handoff
    def __init__(self, handoff: _Optional[_Union[Handoff, _Mapping]] = ...) -> None: ...

class ClaimHandoffRequest(_message.Message):
    __slots__ = ("handoff_id", "lease_seconds")
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    lease_seconds: int
    def __init__(self, handoff_id: _Optional[str] = ..., lease_seconds: _Optional[int] = ...) -> None: ...

class ClaimHandoffResponse(_message.Message):
    __slots__ = ("handoff",)
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    handoff: Handoff
    def __init__(self, handoff: _Optional[_Union[Handoff, _Mapping]] = ...) -> None: ...

class ReleaseHandoffRequest(_message.Message):
    __slots__ = ("handoff_id",)
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    def __init__(self, handoff_id: _Optional[str] = ...) -> None: ...

class ReleaseHandoffResponse(_message.Message):
    __slots__ = ("handoff",)
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    handoff: Handoff
    def __init__(self, handoff: _Optional[_Union[Handoff, _Mapping]] = ...) -> None: ...

class ReplyRequest(_message.Message):
    __slots__ = ("handoff_id", "text")
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    text: str
    def __init__(self, handoff_id: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class ReplyResponse(_message.Message):
    __slots__ = ("turn",)
    TURN_FIELD_NUMBER: _ClassVar[int]
    turn: Turn
    def __init__(self, turn: _Optional[_Union[Turn, _Mapping]] = ...) -> None: ...

class ResolveHandoffRequest(_message.Message):
    __slots__ = ("handoff_id", "resolution", "correct_article_id", "draft")
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    CORRECT_ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    resolution: str
    correct_article_id: str
    draft: _knowledge_pb2.Article
    def __init__(self, handoff_id: _Optional[str] = ..., resolution: _Optional[str] = ..., correct_article_id: _Optional[str] = ..., draft: _Optional[_Union[_knowledge_pb2.Article, _Mapping]] = ...) -> None: ...

class ResolveHandoffResponse(_message.Message):
    __slots__ = ("handoff", "draft_id")
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    DRAFT_ID_FIELD_NUMBER: _ClassVar[int]
    handoff: Handoff
    draft_id: str
    def __init__(self, handoff: _Optional[_Union[Handoff, _Mapping]] = ..., draft_id: _Optional[str] = ...) -> None: ...
