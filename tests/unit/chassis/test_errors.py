"""An error reads the same on both sides of the wire."""

import grpc
import pytest
from grpc_status import rpc_status

from chassis import errors


class FailedCall(grpc.RpcError):
    """What a client holds after a failed call: code, details and trailers."""

    def __init__(self, code, details, trailers=()):
        super().__init__()
        self._code, self._details, self._trailers = code, details, trailers

    def code(self):
        return self._code

    def details(self):
        return self._details

    def trailing_metadata(self):
        return self._trailers


def over_the_wire(error):
    status = rpc_status.to_status(errors.to_status(error))
    return errors.from_rpc_error(FailedCall(status.code, status.details, status.trailing_metadata))


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidField("limit", "must be 1 to 100", 1000),
        errors.NotFound("model", "din", "the repository holds dssm_user"),
        errors.Conflict("item", "42", "changed in between"),
        errors.FailedPrecondition("canary", "there is no stable version"),
        errors.LimitExceeded("calls that wait for model din", 64, retry_after_seconds=0.25),
        errors.Unavailable("kafka", "no broker answers", retry_after_seconds=2),
        errors.Unauthenticated("the token has ended"),
        errors.PermissionDenied("the role operator", "anna holds viewer"),
        errors.DeadlineExceeded("recommend"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_class_message_metadata_and_delay_survive(error):
    received = over_the_wire(error)

    assert type(received) is type(error)
    assert received.message == error.message
    assert received.metadata == error.metadata
    assert received.retry_after_seconds == error.retry_after_seconds


def test_the_field_survives():
    assert over_the_wire(errors.InvalidField("limit", "must be 1 to 100")).field == "limit"


def test_a_status_without_details_keeps_its_code():
    received = errors.from_rpc_error(FailedCall(grpc.StatusCode.UNAVAILABLE, "failed to connect"))

    assert isinstance(received, errors.Unavailable)
    assert received.message == "failed to connect"


def test_a_code_without_a_class_keeps_its_code():
    received = errors.from_rpc_error(FailedCall(grpc.StatusCode.DATA_LOSS, "gone"))

    assert received.code is grpc.StatusCode.DATA_LOSS
    assert errors.CasebookError.code is grpc.StatusCode.INTERNAL


def test_a_long_value_is_shortened_in_the_message():
    assert len(errors.InvalidField("title", "at most 300 characters", "x" * 10_000).message) < 200
