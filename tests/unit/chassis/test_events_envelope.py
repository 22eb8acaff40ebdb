"""Envelopes go through headers unchanged; ids sort by time; retries stay within their bounds."""

import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from chassis.events import Envelope, PoisonMessage, new_event_id
from chassis.retries import Retries


def envelope(**replaced):
    fields = {
        "id": "e-1",
        "type": "casebook.behaviour.v1.BehaviourEvent",
        "source": "gateway",
        "tenant": "acme",
        "time": datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return Envelope(**fields | replaced)


@pytest.mark.parametrize(
    "original",
    [
        envelope(),
        envelope(traceparent=""),
        envelope(tenant="租户"),
        envelope(time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=8)))),
    ],
    ids=["whole", "without a trace", "Chinese tenant", "another time zone"],
)
def test_envelope_is_read_as_it_was_written(original):
    assert Envelope.from_headers(original.to_headers()) == original


def test_other_headers_are_nobody_s_business():
    assert Envelope.from_headers([("x", b"\xff"), ("y", None), *envelope().to_headers()]) == envelope()


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_source", "ce_time", "ce_tenant"])
def test_missing_header_is_named(name):
    headers = [(header, value) for header, value in envelope().to_headers() if header != name]

    with pytest.raises(PoisonMessage, match=f"header {name}: missing"):
        Envelope.from_headers(headers)


def test_ids_are_uuids_of_version_7_that_hold_their_time():
    before = time.time_ns() // 1_000_000
    identifier = uuid.UUID(new_event_id())

    assert (identifier.version, identifier.variant) == (7, uuid.RFC_4122)
    assert before <= identifier.int >> 80 <= time.time_ns() // 1_000_000
    assert len({new_event_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(("attempts", "longest"), [(1, 0.2), (2, 0.4), (3, 0.8), (6, 6.4), (7, 10.0), (10_000, 10.0)])
def test_delay_doubles_with_jitter_up_to_its_bound(attempts, longest):
    delays = [Retries().delay(attempts) for _ in range(200)]

    assert longest / 2 <= min(delays) < max(delays) <= longest
