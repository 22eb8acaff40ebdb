import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Text(_message.Message):
    __slots__ = ("en", "zh")
    EN_FIELD_NUMBER: _ClassVar[int]
    ZH_FIELD_NUMBER: _ClassVar[int]
    en: str
    zh: str
    def __init__(self, en: _Optional[str] = ..., zh: _Optional[str] = ...) -> None: ...

class Phrasings(_message.Message):
    __slots__ = ("en", "zh")
    EN_FIELD_NUMBER: _ClassVar[int]
    ZH_FIELD_NUMBER: _ClassVar[int]
    en: _containers.RepeatedScalarFieldContainer[str]
    zh: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, en: _Optional[_Iterable[str]] = ..., zh: _Optional[_Iterable[str]] = ...) -> None: ...

class Article(_message.Message):
    __slots__ = ("article_id", "title", "answer", "phrasings", "tags", "audience", "valid_from", "valid_to", "revision", "updated_at", "retired")
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    PHRASINGS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_FIELD_NUMBER: _ClassVar[int]
    VALID_TO_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    article_id: str
    title: Text
    answer: Text
    phrasings: Phrasings
    tags: _containers.RepeatedScalarFieldContainer[str]
    audience: str
    valid_from: _timestamp_pb2.Timestamp
    valid_to: _timestamp_pb2.Timestamp
    revision: int
    updated_at: _timestamp_pb2.Timestamp
    retired: bool
    def __init__(self, article_id: _Optional[str] = ..., title: _Optional[_Union[Text, _Mapping]] = ..., answer: _Optional[_Union[Text, _Mapping]] = ..., phrasings: _Optional[_Union[Phrasings, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ..., audience: _Optional[str] = ..., valid_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., valid_to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retired: _Optional[bool] = ...) -> None: ...

class PutArticleRequest(_message.Message):
    __slots__ = ("knowledge_base", "article")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    article: Article
    def __init__(self, knowledge_base: _Optional[str] = ..., article: _Optional[_Union[Article, _Mapping]] = ...) -> None: ...

class PutArticleResponse(_message.Message):
    __slots__ = ("article",)
    ARTICLE_FIELD_NUMBER: _ClassVar[int]
    article: Article
    def __init__(self, article: _Optional[_Union[Article, _Mapping]] = ...) -> None: ...

class GetArticleRequest(_message.Message):
    __slots__ = ("knowledge_base", "article_id")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    article_id: str
    def __init__(self, knowledge_base: _Optional[str] = ..., article_id: _Optional[str] = ...) -> None: ...

class GetArticleResponse(_message.Message):
    __slots__ = ("article",)
    ARTICLE_FIELD_NUMBER: _ClassVar[int]
    article: Article
    def __init__(self, article: _Optional[_Union[Article, _Mapping]] = ...) -> None: ...

class ListArticlesRequest(_message.Message):
    __slots__ = ("knowledge_base", "limit", "after", "with_retired")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    WITH_RETIRED_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    limit: int
    after: str
    with_retired: bool
    def __init__(self, knowledge_base: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[str] = ..., with_retired: _Optional[bool] = ...) -> None: ...

class ListArticlesResponse(_message.Message):
    __slots__ = ("articles", "next_after")
    ARTICLES_FIELD_NUMBER: _ClassVar[int]
    NEXT_AFTER_FIELD_NUMBER: _ClassVar[int]
    articles: _containers.RepeatedCompositeFieldContainer[Article]
    next_after: str
    def __init__(self, articles: _Optional[_Iterable[_Union[Article, _Mapping]]] = ..., next_after: _Optional[str] = ...) -> None: ...

class RetireArticleRequest(_message.Message):
    __slots__ = ("knowledge_base", "article_id")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    article_id: str
    def __init__(self, knowledge_base: _Optional[str] = ..., article_id: _Optional[str] = ...) -> None: ...

class RetireArticleResponse(_message.Message):
    __slots__ = ("article",)
    ARTICLE_FIELD_NUMBER: _ClassVar[int]
    article: Article
    def __init__(self, article: _Optional[_Union[Article, _Mapping]] = ...) -> None: ...

class ImportArticlesRequest(_message.Message):
    __slots__ = ("knowledge_base", "articles")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    ARTICLES_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    articles: _containers.RepeatedCompositeFieldContainer[Article]
    def __init__(self, knowledge_base: _Optional[str] = ..., articles: _Optional[_Iterable[_Union[Article, _Mapping]]] = ...) -> None: ...

class ImportArticlesResponse(_message.Message):
    __slots__ = ("changed", "unchanged")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: int
    unchanged: int
    def __init__(self, changed: _Optional[int] = ..., unchanged: _Optional[int] = ...) -> None: ...

class LabelledQuestion(_message.Message):
    __slots__ = ("question", "language", "article_id")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    question: str
    language: str
    article_id: str
    def __init__(self, question: _Optional[str] = ..., language: _Optional[str] = ..., article_id: _Optional[str] = ...) -> None: ...

class ImportQuestionsRequest(_message.Message):
    __slots__ = ("knowledge_base", "questions")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    questions: _containers.RepeatedCompositeFieldContainer[LabelledQuestion]
    def __init__(self, knowledge_base: _Optional[str] = ..., questions: _Optional[_Iterable[_Union[LabelledQuestion, _Mapping]]] = ...) -> None: ...

class ImportQuestionsResponse(_message.Message):
    __slots__ = ("changed", "unchanged")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: int
    unchanged: int
    def __init__(self, changed: _Optional[int] = ..., unchanged: _Optional[int] = ...) -> None: ...

class Draft(_message.Message):
    __slots__ = ("draft_id", "knowledge_base", "article", "handoff_id", "proposed_at", "proposed_by")
    DRAFT_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_AT_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_BY_FIELD_NUMBER: _ClassVar[int]
    draft_id: str
    knowledge_base: str
    article: Article
    handoff_id: str
    proposed_at: _timestamp_pb2.Timestamp
    proposed_by: str
    def __init__(self, draft_id: _Optional[str] = ..., knowledge_base: _Optional[str] = ..., article: _Optional[_Union[Article, _Mapping]] = ..., handoff_id: _Optional[str] = ..., proposed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., proposed_by: _Optional[str] = ...) -> None: ...

class ListDraftsRequest(_message.Message):
    __slots__ = ("knowledge_base", "limit")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    limit: int
    def __init__(self, knowledge_base: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListDraftsResponse(_message.Message):
    __slots__ = ("drafts",)
    DRAFTS_FIELD_NUMBER: _ClassVar[int]
    drafts: _containers.RepeatedCompositeFieldContainer[Draft]
    def __init__(self, drafts: _Optional[_Iterable[_Union[Draft, _Mapping]]] = ...) -> None: ...

class ApproveDraftRequest(_message.Message):
    __slots__ = ("draft_id", "edited")
    DRAFT_ID_FIELD_NUMBER: _ClassVar[int]
    EDITED_FIELD_NUMBER: _ClassVar[int]
    draft_id: str
    edited: Article
    def __init__(self, draft_id: _Optional[str] = ..., edited: _Optional[_Union[Article, _Mapping]] = ...) -> None: ...

class ApproveDraftResponse(_message.Message):
    __slots__ = ("article",)
    ARTICLE_FIELD_NUMBER: _ClassVar[int]
    article: Article
    def __init__(self, article: _Optional[_Union[Article, _Mapping]] = ...) -> None: ...

class RejectDraftRequest(_message.Message):
    __slots__ = ("draft_id", "reason")
    DRAFT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    draft_id: str
    reason: str
    def __init__(self, draft_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RejectDraftResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
