"""Which version answers a key."""

import pytest

from chassis.errors import NotFound, Unavailable
from inference.releases import Release
from inference.router import Route, Router, position_of


class Version:
    """Stands in for a loaded version: the router reads its name, number and queue alone."""

    waiting = 0

    def __init__(self, version, name="ranker"):
        self.name, self.version = name, version


ONE, TWO, THREE = Version("1"), Version("2"), Version("3")
KEYS = [f"user-{number}" for number in range(2000)]


@pytest.fixture
def router():
    router = Router()
    for version in (ONE, TWO, THREE):
        router.add(version)
    router.install(Route(Release("ranker", "1", canary="2", canary_share=0.2), ONE, canary=TWO))
    return router


def shared(router, share):
    router.install(Route(Release("ranker", "1", canary="2", canary_share=share), ONE, canary=TWO))
    return {key for key in KEYS if router.choose("ranker", request_key=key) is TWO}


def test_a_canary_gets_its_share_of_the_keys(router):
    assert len(shared(router, 0.2)) / len(KEYS) == pytest.approx(0.2, abs=0.03)
    assert len(shared(router, 1.0)) == len(KEYS)


def test_a_key_stays_with_its_version_and_a_growing_share_keeps_it(router):
    few = shared(router, 0.1)
    assert few == shared(router, 0.1)
    assert few < shared(router, 0.5)


def test_every_canary_has_other_keys_first():
    first = {key for key in KEYS if position_of("ranker", "2", key) < 0.1}
    second = {key for key in KEYS if position_of("ranker", "3", key) < 0.1}
    assert len(first & second) < 0.5 * len(first)


def test_positions_are_the_same_on_every_machine():
    assert position_of("ranker", "2", "user-1") == pytest.approx(0.0277848961, abs=1e-10)


def test_a_call_without_a_key_gets_the_stable_version(router):
    shared(router, 1.0)
    assert router.choose("ranker") is ONE


def test_a_version_that_is_named_answers_whatever_the_release_says(router):
    assert router.choose("ranker", "3", "user-1") is THREE


@pytest.mark.parametrize(
    ("model", "version", "why"), [("tagger", "", "tagger"), ("tagger", "1", "tagger"), ("ranker", "9", "1, 2, 3")]
)
def test_what_is_not_here_is_not_found(router, model, version, why):
    with pytest.raises(NotFound, match=why):
        router.choose(model, version)


def test_a_model_that_is_not_ready_is_unavailable_with_the_reason(router):
    router.withdraw("ranker", "it was unloaded by olga")
    with pytest.raises(Unavailable, match="unloaded by olga"):
        router.choose("ranker")


def test_the_shadow_is_beside_the_stable_version_only(router):
    router.install(Route(Release("ranker", "1", shadow="3"), ONE, canary=TWO, shadow=THREE))
    assert router.shadow_of(ONE) is THREE
    assert router.shadow_of(TWO) is None


def test_a_retired_version_gets_no_calls(router):
    router.remove(THREE)
    with pytest.raises(NotFound):
        router.choose("ranker", "3")


def test_the_snapshot_says_each_version_s_role(router):
    assert {(now.version, now.role) for now in router.snapshot()} == {
        ("1", "stable"),
        ("2", "canary"),
        ("3", "explicit"),
    }
