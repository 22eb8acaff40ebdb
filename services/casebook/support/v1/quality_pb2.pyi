import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetRiskCoverageRequest(_message.Message):
    __slots__ = ("knowledge_base", "language", "target_risk")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TARGET_RISK_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    language: str
    target_risk: float
    def __init__(self, knowledge_base: _Optional[str] = ..., language: _Optional[str] = ..., target_risk: _Optional[float] = ...) -> None: ...

class GetRiskCoverageResponse(_message.Message):
    __slots__ = ("calibration", "curve", "threshold", "target_risk")
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TARGET_RISK_FIELD_NUMBER: _ClassVar[int]
    calibration: Calibration
    curve: _containers.RepeatedCompositeFieldContainer[RiskCoveragePoint]
    threshold: float
    target_risk: float
    def __init__(self, calibration: _Optional[_Union[Calibration, _Mapping]] = ..., curve: _Optional[_Iterable[_Union[RiskCoveragePoint, _Mapping]]] = ..., threshold: _Optional[float] = ..., target_risk: _Optional[float] = ...) -> None: ...

class RiskCoveragePoint(_message.Message):
    __slots__ = ("threshold", "coverage", "risk")
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    coverage: float
    risk: float
    def __init__(self, threshold: _Optional[float] = ..., coverage: _Optional[float] = ..., risk: _Optional[float] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("version", "knowledge_base", "language", "fitted_at", "in_scope_questions", "out_of_scope_questions", "from_feedback", "expected_calibration_error", "target_risk")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    FITTED_AT_FIELD_NUMBER: _ClassVar[int]
    IN_SCOPE_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_SCOPE_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    FROM_FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_CALIBRATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    TARGET_RISK_FIELD_NUMBER: _ClassVar[int]
    version: str
    knowledge_base: str
    language: str
    fitted_at: _timestamp_pb2.Timestamp
    in_scope_questions: int
    out_of_scope_questions: int
    from_feedback: int
    expected_calibration_error: float
    target_risk: float
    def __init__(self, version: _Optional[str] = ..., knowledge_base: _Optional[str] = ..., language: _Optional[str] = ..., fitted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., in_scope_questions: _Optional[int] = ..., out_of_scope_questions: _Optional[int] = ..., from_feedback: _Optional[int] = ..., expected_calibration_error: _Optional[float] = ..., target_risk: _Optional[float] = ...) -> None: ...

class SetTargetRiskRequest(_message.Message):
    __slots__ = ("knowledge_base", "language", "target_risk")
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TARGET_RISK_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    language: str
    target_risk: float
    def __init__(self, knowledge_base: _Optional[str] = ..., language: _Optional[str] = ..., target_risk: _Optional[float] = ...) -> None: ...

class SetTargetRiskResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CalibrateRequest(_message.Message):
    __slots__ = ("knowledge_base",)
    KNOWLEDGE_BASE_FIELD_NUMBER: _ClassVar[int]
    knowledge_base: str
    def __init__(self, knowledge_base: _Optional[str] = ...) -> None: ...

class CalibrateResponse(_message.Message):
    __slots__ = ("calibrations",)
    CALIBRATIONS_FIELD_NUMBER: _ClassVar[int]
    calibrations: _containers.RepeatedCompositeFieldContainer[Calibration]
    def __init__(self, calibrations: _Optional[_Iterable[_Union[Calibration, _Mapping]]] = ...) -> None: ...
