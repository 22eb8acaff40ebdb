"""Idempotency keys: what makes two requests the same one, and the ids that a second try keeps."""

from uuid import UUID

import pytest
from fastapi import Request

from chassis.errors import InvalidField
from chassis.identity import Identity
from gateway.idempotency import Attempt, RequestKey

WHO = Identity("acme", "shop")


def request(key: str | None, path: str = "/v1/events", query: bytes = b"") -> Request:
    headers = [] if key is None else [(b"idempotency-key", key.encode("latin-1"))]
    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": query,
            "headers": headers,
            "server": ("t", 80),
            "scheme": "http",
        }
    )


def test_an_attempt_makes_the_same_ids_again():
    attempt = Attempt.new()

    first = [attempt.event_id(index) for index in range(500)]
    again = [Attempt(attempt.id).event_id(index) for index in range(500)]

    assert first == again
    assert len(set(first)) == 500


def test_an_events_id_is_a_uuid7_of_the_attempts_time():
    attempt = Attempt.new()

    event_id = UUID(attempt.event_id(3))

    assert event_id.version == 7
    assert event_id.int >> 80 == attempt.id.int >> 80


def test_a_request_without_the_header_has_no_key():
    assert RequestKey.of(request(None), "/v1/events", b"{}", WHO) is None


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a\tb"])
def test_a_key_is_visible_ascii_of_bounded_length(key):
    with pytest.raises(InvalidField, match="1 to 255 visible ASCII characters"):
        RequestKey.of(request(key), "/v1/events", b"{}", WHO)


@pytest.mark.parametrize(
    ("path", "query", "body"), [("/v1/other", b"", b"{}"), ("/v1/events", b"a=1", b"{}"), ("/v1/events", b"", b"{ }")]
)
def test_another_path_query_or_body_is_another_request(path, query, body):
    original = RequestKey.of(request("k"), "/v1/events", b"{}", WHO)

    other = RequestKey.of(request("k", path, query), "/v1/events", body, WHO)

    assert original.fingerprint != other.fingerprint
