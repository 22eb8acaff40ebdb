"""The split, and whether a difference is one."""

from collections import Counter

import pytest

from recommender.experiments import Arm, Experiment, Tally, read_out
from recommender.reranking import Policy

DIVERSITY = Experiment("diversity", (Arm("control", 0.7), Arm("varied", 0.3, {"relevance": 0.5})))


def test_a_visitor_stays_in_the_same_arm():
    assert len({DIVERSITY.arm_of("demo:ana").name for _ in range(100)}) == 1


def test_the_arms_get_their_shares():
    arms = Counter(DIVERSITY.arm_of(f"demo:{visitor}").name for visitor in range(10_000))

    # 10,000 draws at 0.3: a standard deviation is 46.
    assert abs(arms["varied"] - 3_000) < 200


def test_another_experiment_splits_anew():
    other = Experiment("ranking", DIVERSITY.arms)
    visitors = [f"demo:{visitor}" for visitor in range(1_000)]

    both = sum(DIVERSITY.arm_of(each).name == other.arm_of(each).name == "varied" for each in visitors)

    assert 50 < both < 130


def test_an_arm_changes_what_it_names_and_nothing_else():
    assert DIVERSITY.arms[1].applied_to(Policy(pool=50)) == Policy(relevance=0.5, pool=50)


@pytest.mark.parametrize(
    ("arms", "why"),
    [((Arm("a", 0.5),), "add up to 1"), ((Arm("a", 0.5), Arm("a", 0.5)), "a name of its own")],
)
def test_a_split_that_is_none_is_refused(arms, why):
    with pytest.raises(ValueError, match=why):
        Experiment("x", arms)


@pytest.mark.parametrize(
    ("control", "treatment", "z", "p_value"),
    [
        # By hand: rates 0.10 and 0.13, pooled 0.115, deviation sqrt(0.115 * 0.885 * 2 / 1000) = 0.014267.
        (Tally(1000, 100), Tally(1000, 130), 2.1028, 0.03549),
        (Tally(1000, 100), Tally(1000, 100), 0.0, 1.0),
        (Tally(0, 0), Tally(1000, 100), 0.0, 1.0),
        (Tally(10, 0), Tally(10, 0), 0.0, 1.0),
    ],
)
def test_the_two_proportion_z_test(control, treatment, z, p_value):
    result = read_out(control, treatment)

    assert result.z == pytest.approx(z, abs=1e-4)
    assert result.p_value == pytest.approx(p_value, abs=1e-5)
    assert result.low <= result.lift <= result.high


def test_the_interval_leaves_out_zero_when_the_difference_is_significant():
    result = read_out(Tally(1000, 100), Tally(1000, 130))

    assert 0 < result.low < 0.03 < result.high
