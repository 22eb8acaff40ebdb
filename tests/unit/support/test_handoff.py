"""The hand-off's state machine, as a table: what each transition makes of each state, and who is refused why."""

from datetime import timedelta

import pytest

from chassis.errors import CasebookError, Conflict, FailedPrecondition
from support.conversation import Conversation, Evidence, Outcome, Speaker, Suggestion, Turn
from support.handoff import Handoff, HandoffReason, HandoffState, requested
from support.knowledge import Scores
from tests.unit.support.bank import NOON

LEASE = timedelta(minutes=5)
SOON, LATE = NOON + timedelta(minutes=1), NOON + timedelta(minutes=6)
"""Within Bob's lease, and after it."""

REQUESTED = requested(
    Conversation("bank", "c", "help", "ana", turns=(Turn("t", Speaker.CUSTOMER, "agent please", NOON),)),
    HandoffReason.ASKED_FOR,
    "h",
    NOON,
)
QUEUED = REQUESTED.announced()
BOBS = QUEUED.claimed("bob", NOON, LEASE)
RESOLVED = BOBS.resolved("bob", NOON, "It is done.")

(
    ANNOUNCED,
    CLAIMED_BY_BOB,
    CLAIMED_BY_EVE,
    RELEASED_BY_BOB,
    RELEASED_BY_EVE,
    EXPIRED,
    RESOLVED_BY_BOB,
    RESOLVED_BY_EVE,
) = (
    lambda handoff, now: handoff.announced(),
    lambda handoff, now: handoff.claimed("bob", now, LEASE),
    lambda handoff, now: handoff.claimed("eve", now, LEASE),
    lambda handoff, now: handoff.released("bob", now),
    lambda handoff, now: handoff.released("eve", now),
    lambda handoff, now: handoff.expired(now),
    lambda handoff, now: handoff.resolved("bob", now, "It is done."),
    lambda handoff, now: handoff.resolved("eve", now, "It is done."),
)
SAME = "the same, revision and all"


@pytest.mark.parametrize(
    ("before", "transition", "now", "after"),
    [
        (REQUESTED, ANNOUNCED, SOON, "queued"),
        (REQUESTED, CLAIMED_BY_BOB, SOON, FailedPrecondition),
        (REQUESTED, RELEASED_BY_BOB, SOON, SAME),
        (REQUESTED, EXPIRED, LATE, SAME),
        (REQUESTED, RESOLVED_BY_BOB, SOON, FailedPrecondition),
        (QUEUED, ANNOUNCED, SOON, SAME),
        (QUEUED, CLAIMED_BY_BOB, SOON, "claimed"),
        (QUEUED, RELEASED_BY_BOB, SOON, SAME),
        (QUEUED, EXPIRED, LATE, SAME),
        (QUEUED, RESOLVED_BY_BOB, SOON, FailedPrecondition),
        (BOBS, ANNOUNCED, SOON, SAME),
        (BOBS, CLAIMED_BY_BOB, SOON, "claimed"),
        (BOBS, CLAIMED_BY_EVE, SOON, Conflict),
        (BOBS, RELEASED_BY_BOB, SOON, "queued"),
        (BOBS, RELEASED_BY_EVE, SOON, Conflict),
        (BOBS, EXPIRED, SOON, SAME),
        (BOBS, RESOLVED_BY_BOB, SOON, "resolved"),
        (BOBS, RESOLVED_BY_EVE, SOON, Conflict),
        # His lease is over, whether or not anything has noticed.
        (BOBS, CLAIMED_BY_BOB, LATE, "claimed"),
        (BOBS, CLAIMED_BY_EVE, LATE, "claimed"),
        (BOBS, RELEASED_BY_EVE, LATE, "queued"),
        (BOBS, EXPIRED, LATE, "queued"),
        (BOBS, RESOLVED_BY_BOB, LATE, FailedPrecondition),
        (BOBS, RESOLVED_BY_EVE, LATE, FailedPrecondition),
        (RESOLVED, ANNOUNCED, SOON, SAME),
        (RESOLVED, CLAIMED_BY_BOB, SOON, FailedPrecondition),
        (RESOLVED, RELEASED_BY_BOB, SOON, FailedPrecondition),
        (RESOLVED, EXPIRED, LATE, SAME),
        (RESOLVED, RESOLVED_BY_BOB, LATE, SAME),
        (RESOLVED, RESOLVED_BY_EVE, SOON, FailedPrecondition),
    ],
)
def test_a_transition(before, transition, now, after):
    if isinstance(after, type):
        with pytest.raises(after):
            transition(before, now)
    elif after == SAME:
        assert transition(before, now) is before
    else:
        changed = transition(before, now)
        assert changed.state == after
        assert changed.revision == before.revision + 1


def test_a_claim_is_for_the_length_of_the_lease_and_is_renewed_by_claiming_again():
    assert BOBS.lease_until == NOON + LEASE
    assert BOBS.claimed("bob", SOON, LEASE).lease_until == SOON + LEASE


def test_the_moment_that_a_lease_ends_is_no_longer_part_of_it():
    assert BOBS.expired(NOON + LEASE).state is HandoffState.QUEUED


@pytest.mark.parametrize("transition", [CLAIMED_BY_EVE, RELEASED_BY_EVE, RESOLVED_BY_EVE])
def test_who_is_refused_learns_who_has_it_and_until_when(transition):
    with pytest.raises(Conflict, match="bob has it until 2026-03-02T12:05:00"):
        transition(BOBS, SOON)


def test_who_comes_after_the_end_learns_who_resolved_it():
    with pytest.raises(FailedPrecondition, match="bob resolved it at 2026-03-02T12:00:00"):
        RESOLVED.claimed("eve", SOON, LEASE)


@pytest.mark.parametrize("handoff", [QUEUED, BOBS])
def test_who_is_too_late_is_told_to_claim_it_first(handoff):
    with pytest.raises(FailedPrecondition, match="claim it first"):
        handoff.answerable_by("bob", LATE)


def test_nothing_is_kept_of_a_claim_once_it_is_queued_again():
    again = BOBS.released("bob", SOON)

    assert (again.claimed_by, again.lease_until) == ("", None)


def test_it_is_open_until_it_is_resolved():
    assert [each.is_open for each in (REQUESTED, QUEUED, BOBS, RESOLVED)] == [True, True, True, False]
    assert (RESOLVED.resolution, RESOLVED.resolved_at, RESOLVED.claimed_by) == ("It is done.", NOON, "bob")


def test_every_order_of_transitions_ends_in_a_state_that_makes_sense():
    """All sequences of five transitions from the beginning: no state without what belongs to it."""
    steps = (ANNOUNCED, CLAIMED_BY_BOB, CLAIMED_BY_EVE, RELEASED_BY_BOB, EXPIRED, RESOLVED_BY_BOB)
    reached: set[Handoff] = {REQUESTED}
    for moment in (NOON, NOON, SOON, LATE, LATE + LEASE):
        reached = reached | {after for each in reached for step in steps for after in taken(step, each, moment)}
    for handoff in reached:
        assert bool(handoff.claimed_by) == (handoff.state in (HandoffState.CLAIMED, HandoffState.RESOLVED))
        assert bool(handoff.lease_until) == (handoff.state is HandoffState.CLAIMED)
        assert bool(handoff.resolved_at) == (handoff.state is HandoffState.RESOLVED)
    assert {each.state for each in reached} == set(HandoffState)


def taken(step, handoff: Handoff, moment) -> list[Handoff]:
    """What the step leads to; nothing where it is refused."""
    try:
        return [step(handoff, moment)]
    except CasebookError:
        return []


def test_the_summary_is_about_the_last_question_that_the_bot_tried():
    evidence = Evidence("how?", "en", suggestions=(Suggestion("a", "A", Scores(probability=0.5)),))
    turns = (
        Turn("1", Speaker.CUSTOMER, "how?", NOON),
        Turn("2", Speaker.BOT, "which?", NOON, Outcome.CLARIFY, "", ("a", "b"), evidence),
        Turn("3", Speaker.CUSTOMER, "agent please", NOON),
    )
    summary = requested(
        Conversation("bank", "c", "help", "ana", turns=turns), HandoffReason.ASKED_FOR, "h", NOON
    ).summary

    assert (summary.question, summary.turn_id, summary.turns) == ("how?", "2", turns)
    assert (summary.tried_article_ids, summary.top_candidates) == (("a", "b"), evidence.suggestions)
