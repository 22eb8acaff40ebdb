from casebook.support.v1 import desk_pb2 as _desk_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_ANSWER: _ClassVar[Outcome]
    OUTCOME_CLARIFY: _ClassVar[Outcome]
    OUTCOME_OUT_OF_SCOPE: _ClassVar[Outcome]
    OUTCOME_HAND_OFF: _ClassVar[Outcome]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_HELPFUL: _ClassVar[Verdict]
    VERDICT_WRONG: _ClassVar[Verdict]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_ANSWER: Outcome
OUTCOME_CLARIFY: Outcome
OUTCOME_OUT_OF_SCOPE: Outcome
OUTCOME_HAND_OFF: Outcome
VERDICT_UNSPECIFIED: Verdict
VERDICT_HELPFUL: Verdict
VERDICT_WRONG: Verdict

class AskRequest(_message.Message):
    __slots__ = ("conversation_id", "knowledge_base", "customer_id", "question", "picked_article_id", "none_of_these", "wants_person", "language", "explain", "audiences")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    PICKED_ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_THESE_FIELD_NUMBER: _ClassVar[int]
    WANTS_PERSON_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    AUDIENCES_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    knowledge_base: str
    customer_id: str
    question: str
    picked_article_id: str
    none_of_these: bool
    wants_person: bool
    language: str
    explain: bool
    audiences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, conversation_id: _Optional[str] = ..., knowledge_base: _Optional[str] = ..., customer_id: _Optional[str] = ..., question: _Optional[str] = ..., picked_article_id: _Optional[str] = ..., none_of_these: _Optional[bool] = ..., wants_person: _Optional[bool] = ..., language: _Optional[str] = ..., explain: _Optional[bool] = ..., audiences: _Optional[_Iterable[str]] = ...) -> None: ...

class AskResponse(_message.Message):
    __slots__ = ("conversation_id", "turn_id", "outcome", "text", "language", "answer", "candidates", "handoff", "confidence", "thresholds", "versions", "degraded", "retrieved", "stages")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    RETRIEVED_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    turn_id: str
    outcome: Outcome
    text: str
    language: str
    answer: Answer
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    handoff: _desk_pb2.Handoff
    confidence: float
    thresholds: Thresholds
    versions: Versions
    degraded: _containers.RepeatedScalarFieldContainer[str]
    retrieved: _containers.RepeatedCompositeFieldContainer[Candidate]
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    def __init__(self, conversation_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., text: _Optional[str] = ..., language: _Optional[str] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., handoff: _Optional[_Union[_desk_pb2.Handoff, _Mapping]] = ..., confidence: _Optional[float] = ..., thresholds: _Optional[_Union[Thresholds, _Mapping]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., degraded: _Optional[_Iterable[str]] = ..., retrieved: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("article_id", "article_revision", "title", "text", "matched_phrasing", "scores")
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_REVISION_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MATCHED_PHRASING_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    article_id: str
    article_revision: int
    title: str
    text: str
    matched_phrasing: str
    scores: Scores
    def __init__(self, article_id: _Optional[str] = ..., article_revision: _Optional[int] = ..., title: _Optional[str] = ..., text: _Optional[str] = ..., matched_phrasing: _Optional[str] = ..., scores: _Optional[_Union[Scores, _Mapping]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("article_id", "article_revision", "title", "matched_phrasing", "scores")
    ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_REVISION_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    MATCHED_PHRASING_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    article_id: str
    article_revision: int
    title: str
    matched_phrasing: str
    scores: Scores
    def __init__(self, article_id: _Optional[str] = ..., article_revision: _Optional[int] = ..., title: _Optional[str] = ..., matched_phrasing: _Optional[str] = ..., scores: _Optional[_Union[Scores, _Mapping]] = ...) -> None: ...

class Scores(_message.Message):
    __slots__ = ("lexical", "dense", "fused", "reranked", "probability")
    LEXICAL_FIELD_NUMBER: _ClassVar[int]
    DENSE_FIELD_NUMBER: _ClassVar[int]
    FUSED_FIELD_NUMBER: _ClassVar[int]
    RERANKED_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    lexical: float
    dense: float
    fused: float
    reranked: float
    probability: float
    def __init__(self, lexical: _Optional[float] = ..., dense: _Optional[float] = ..., fused: _Optional[float] = ..., reranked: _Optional[float] = ..., probability: _Optional[float] = ...) -> None: ...

class Thresholds(_message.Message):
    __slots__ = ("answer", "clarify", "target_risk")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CLARIFY_FIELD_NUMBER: _ClassVar[int]
    TARGET_RISK_FIELD_NUMBER: _ClassVar[int]
    answer: float
    clarify: float
    target_risk: float
    def __init__(self, answer: _Optional[float] = ..., clarify: _Optional[float] = ..., target_risk: _Optional[float] = ...) -> None: ...

class Versions(_message.Message):
    __slots__ = ("encoders", "index", "reranker", "calibration")
    ENCODERS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RERANKER_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    encoders: _containers.RepeatedScalarFieldContainer[str]
    index: int
    reranker: str
    calibration: str
    def __init__(self, encoders: _Optional[_Iterable[str]] = ..., index: _Optional[int] = ..., reranker: _Optional[str] = ..., calibration: _Optional[str] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("name", "milliseconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    milliseconds: float
    def __init__(self, name: _Optional[str] = ..., milliseconds: _Optional[float] = ...) -> None: ...

class GetConversationRequest(_message.Message):
    __slots__ = ("conversation_id", "customer_id")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    customer_id: str
    def __init__(self, conversation_id: _Optional[str] = ..., customer_id: _Optional[str] = ...) -> None: ...

class GetConversationResponse(_message.Message):
    __slots__ = ("conversation_id", "knowledge_base", "customer_id", "turns", "handoff", "degraded")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    knowledge_base: str
    customer_id: str
    turns: _containers.RepeatedCompositeFieldContainer[_desk_pb2.Turn]
    handoff: _desk_pb2.Handoff
    degraded: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, conversation_id: _Optional[str] = ..., knowledge_base: _Optional[str] = ..., customer_id: _Optional[str] = ..., turns: _Optional[_Iterable[_Union[_desk_pb2.Turn, _Mapping]]] = ..., handoff: _Optional[_Union[_desk_pb2.Handoff, _Mapping]] = ..., degraded: _Optional[_Iterable[str]] = ...) -> None: ...

class GiveFeedbackRequest(_message.Message):
    __slots__ = ("conversation_id", "turn_id", "verdict", "correct_article_id", "comment", "customer_id")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CORRECT_ARTICLE_ID_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    turn_id: str
    verdict: Verdict
    correct_article_id: str
    comment: str
    customer_id: str
    def __init__(self, conversation_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., correct_article_id: _Optional[str] = ..., comment: _Optional[str] = ..., customer_id: _Optional[str] = ...) -> None: ...

class GiveFeedbackResponse(_message.Message):
    __slots__ = ("handoff",)
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    handoff: _desk_pb2.Handoff
    def __init__(self, handoff: _Optional[_Union[_desk_pb2.Handoff, _Mapping]] = ...) -> None: ...
