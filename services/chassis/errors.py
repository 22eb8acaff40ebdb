"""Errors that name the thing and the way out, and their one mapping to `google.rpc.Status`.

A domain raises one of these; the server turns it into a status with details (AIP-193), and a client turns the status
back into the same class, so that an error reads the same on both sides of the wire.
"""

from typing import Any, ClassVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "casebook"


class CasebookError(Exception):
    """The base. `code` is what a caller acts on, `reason` what a program compares, the message what a person reads."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: Any) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items() if value is not None}
        self.retry_after_seconds: float | None = None


class InvalidField(CasebookError):
    """A field of the request breaks its limit."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_FIELD"

    def __init__(self, field: str, why: str, received: object = None) -> None:
        suffix = "" if received is None else f" (received {_shortened(received)})"
        super().__init__(f"{field}: {why}{suffix}", field=field, why=why)
        self.field = field


class NotFound(CasebookError):
    """There is no such thing."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(self, kind: str, identifier: str, why: str = "") -> None:
        super().__init__(f"there is no {kind} {identifier!r}{': ' + why if why else ''}", kind=kind, id=identifier)


class Conflict(CasebookError):
    """Another change came first, or the thing exists already."""

    code = grpc.StatusCode.ABORTED
    reason = "CONFLICT"

    def __init__(self, kind: str, identifier: str, why: str) -> None:
        super().__init__(f"{kind} {identifier!r}: {why}", kind=kind, id=identifier)


class FailedPrecondition(CasebookError):
    """The thing is not in a state in which this can be done; trying again does not help."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}", what=what)


class LimitExceeded(CasebookError):
    """A bound has been reached: a queue, a size, a rate."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "LIMIT_EXCEEDED"

    def __init__(self, what: str, limit: object, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{what}: the limit is {limit}", what=what, limit=limit)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(CasebookError):
    """Something that this depends on does not answer now; trying later may help."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"

    def __init__(self, what: str, why: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{what} is not available: {why}", what=what)
        self.retry_after_seconds = retry_after_seconds


class Unauthenticated(CasebookError):
    """The caller has not shown who it is."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"

    def __init__(self, why: str) -> None:
        super().__init__(f"no valid identity: {why}")


class PermissionDenied(CasebookError):
    """The caller is known, and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self, need: str, why: str) -> None:
        super().__init__(f"needs {need}: {why}", need=need)


class DeadlineExceeded(CasebookError):
    """The time that the caller gave has run out."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: the deadline has passed")


_BY_CODE: dict[grpc.StatusCode, type[CasebookError]] = {
    cls.code: cls
    for cls in (
        InvalidField,
        NotFound,
        Conflict,
        FailedPrecondition,
        LimitExceeded,
        Unavailable,
        Unauthenticated,
        PermissionDenied,
        DeadlineExceeded,
    )
}


def to_status(error: CasebookError) -> status_pb2.Status:
    """The error as `google.rpc.Status`: ErrorInfo always; BadRequest, RetryInfo where they apply."""
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    packed = [_packed(detail) for detail in details]
    if isinstance(error, InvalidField):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        packed.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        packed.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=error.code.value[0], message=error.message, details=packed)


def from_rpc_error(error: grpc.RpcError) -> CasebookError:
    """The error that the other side raised, read from the status of a failed call.

    A status without details (a proxy's, a dead channel's) becomes the class that its code stands for, and
    `CasebookError` where none does.
    """
    code: grpc.StatusCode = error.code()
    cls = _BY_CODE.get(code, CasebookError)
    translated = cls.__new__(cls)
    CasebookError.__init__(translated, error.details() or code.name)
    if isinstance(translated, InvalidField):
        translated.field = ""
    if cls is CasebookError:
        translated.code = code  # type: ignore[misc]
        translated.reason = code.name  # type: ignore[misc]
    _fill_from_details(translated, error)
    return translated


def _fill_from_details(error: CasebookError, rpc_error: grpc.RpcError) -> None:
    try:
        status = rpc_status.from_call(rpc_error)
    except ValueError:  # the status in the trailers does not match the call's own: the call's own stands
        return
    for packed in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if packed.Unpack(info):
            error.metadata = dict(info.metadata)
            if isinstance(error, InvalidField):
                error.field = info.metadata.get("field", "")
        elif packed.Unpack(retry):
            error.retry_after_seconds = retry.retry_delay.ToNanoseconds() / 1e9


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
