import datetime

from casebook.support.v1 import desk_pb2 as _desk_pb2
from casebook.support.v1 import knowledge_pb2 as _knowledge_pb2
from casebook.support.v1 import support_pb2 as _support_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeedbackSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_SOURCE_UNSPECIFIED: _ClassVar[FeedbackSource]
    FEEDBACK_SOURCE_CUSTOMER_HELPFUL: _ClassVar[FeedbackSource]
    FEEDBACK_SOURCE_CUSTOMER_WRONG: _ClassVar[FeedbackSource]
    FEEDBACK_SOURCE_CUSTOMER_PICKED: _ClassVar[FeedbackSource]
    FEEDBACK_SOURCE_CUSTOMER_PICKED_NONE: _ClassVar[FeedbackSource]
    FEEDBACK_SOURCE_AGENT: _ClassVar[FeedbackSource]
FEEDBACK_SOURCE_UNSPECIFIED: FeedbackSource
FEEDBACK_SOURCE_CUSTOMER_HELPFUL: FeedbackSource
FEEDBACK_SOURCE_CUSTOMER_WRONG: FeedbackSource
FEEDBACK_SOURCE_CUSTOMER_PICKED: FeedbackSource
FEEDBACK_SOURCE_CUSTOMER_PICKED_NONE: FeedbackSource
FEEDBACK_SOURCE_AGENT: FeedbackSource

class ArticleChanged(_message.Message):
    __slots__ = ("knowledge_base", "article", "imported")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    article: _knowledge_pb2.Article
    imported: bool
    def __init__(self, knowledge_base: _Optional[str] = ..., article: _Optional[_Union[_knowledge_pb2.Article, _Mapping]] = ..., imported: _Optional[bool] = ...) -> None: ...

class HandoffChanged(_message.Message):
    __slots__ = ("handoff",)
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    handoff: _desk_pb2.Handoff
    def __init__(self, handoff: _Optional[_Union[_desk_pb2.Handoff, _Mapping]] = ...) -> None: ...

class FeedbackGiven(_message.Message):
    __slots__ = ("conversation_id", "turn_id", "knowledge_base", "language", "question", "outcome", "answered_article_id", "source", "correct_article_id", "in_scope", "comment", "confidence", "versions", "given_at", "context")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CORRECT_ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    IN_SCOPE_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    GIVEN_AT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    turn_id: str
    knowledge_base: str
    language: str
    question: str
    outcome: _support_pb2.Outcome
    answered_article_id: str
    source: FeedbackSource
    correct_article_id: str
    in_scope: bool
    comment: str
    confidence: float
    versions: _support_pb2.Versions
    given_at: _timestamp_pb2.Timestamp
    context: str
    def __init__(self, conversation_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., knowledge_base: _Optional[str] = ..., language: _Optional[str] = ..., question: _Optional[str] = ..., outcome: _Optional[_Union[_support_pb2.Outcome, str]] = ..., answered_article_id: _Optional[str] = ..., source: _Optional[_Union[FeedbackSource, str]] = ..., correct_article_id: _Optional[str] = ..., in_scope: _Optional[bool] = ..., comment: _Optional[str] = ..., confidence: _Optional[float] = ..., versions: _Optional[_Union[_support_pb2.Versions, _Mapping]] = ..., given_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., context: _Optional[str] = ...) -> None: ...
