"""What an operator may do to a release."""

from datetime import UTC, datetime

import pytest

from chassis.errors import FailedPrecondition, InvalidField
from inference.releases import (
    Acknowledgement,
    Release,
    changed,
    checked_reason,
    complete,
    promote,
    roll_back,
    set_canary,
    set_shadow,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = Release("ranker", stable="1")


def after(release, *edits):
    for edit in edits:
        release = changed(release, edit, "olga", NOON)
    return release


def test_promote_keeps_the_old_stable_as_previous():
    release = after(ONE, promote("2"))
    assert (release.stable, release.previous, release.generation, release.changed_by) == ("2", "1", 2, "olga")


def test_promoting_the_canary_ends_it():
    release = after(ONE, set_canary("2", 0.2), promote("2"))
    assert (release.stable, release.canary, release.canary_share) == ("2", "", 0)


def test_promoting_another_version_leaves_the_canary():
    assert after(ONE, set_canary("2", 0.2), promote("3")).canary == "2"


def test_promoting_the_shadow_ends_it():
    assert after(ONE, set_shadow("2"), promote("2")).shadow == ""


def test_rollback_ends_a_canary_first():
    release = after(ONE, promote("2"), set_canary("3", 0.5), roll_back())
    assert (release.stable, release.canary, release.previous) == ("2", "", "1")


def test_rollback_puts_the_previous_version_back_once():
    release = after(ONE, promote("2"), roll_back())
    assert (release.stable, release.previous) == ("1", "")
    with pytest.raises(FailedPrecondition, match="no previous version"):
        after(release, roll_back())


def test_a_share_of_nothing_ends_the_canary():
    assert after(ONE, set_canary("2", 0.2), set_canary("", 0)).canary == ""


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_nothing_and_all(share):
    with pytest.raises(InvalidField, match="expected 0 to 1"):
        set_canary("2", share)


def test_a_canary_needs_a_version():
    with pytest.raises(InvalidField, match="version"):
        set_canary("", 0.1)


@pytest.mark.parametrize("edit", [promote("1"), set_canary("1", 0.5), set_shadow("1")])
def test_the_stable_version_takes_no_second_role(edit):
    with pytest.raises(FailedPrecondition, match="stable"):
        after(ONE, edit)


def test_a_release_needs_all_its_versions_loaded():
    release = after(ONE, promote("2"), set_canary("3", 0.1), set_shadow("4"))
    assert release.versions == {"1", "2", "3", "4"}


@pytest.mark.parametrize(
    ("replicas", "done"),
    [
        ([], False),
        ([Acknowledgement("a", "ranker", 1)], True),
        ([Acknowledgement("a", "ranker", 1), Acknowledgement("b", "ranker", 0)], False),
        ([Acknowledgement("a", "ranker", 1, "corrupt")], False),
    ],
)
def test_a_release_is_complete_when_every_replica_serves_it(replicas, done):
    assert complete(ONE, replicas) is done


def test_a_reason_is_at_most_500_characters():
    assert checked_reason("x" * 500)
    with pytest.raises(InvalidField, match="500"):
        checked_reason("x" * 501)
