"""The walk of `make demo`, step by step, and the operator's commands, on the whole running system."""

import pytest

from cli.walks import CASES
from cli.walks.recommender import Recommender
from cli.walks.support import Support

STEPS = {
    Recommender: ("known_users", "live_clicks", "anonymous_session", "new_user", "new_item", "canary", "trace"),
    Support: (
        *("english_conversation", "chinese_conversation", "desk", "new_article"),
        *("accepted_risk", "feedback", "trace"),
    ),
}


@pytest.mark.parametrize(("case", "step"), [(case, step) for case, steps in STEPS.items() for step in steps])
def test_every_step_of_the_walk_holds(system, walk, case, step):
    getattr(case(walk), step)()

    assert walk.failures == [], system.warnings()


def test_no_step_of_the_walk_is_left_out(walk):
    assert {case: tuple(step.__name__ for step in case(walk).steps) for case in CASES} == STEPS


def test_models_and_their_history_are_listed(system):
    listed = system.casebook("models", "list")

    assert all(model in listed for model in ("dssm_user", "dssm_item", "din"))


def test_a_trace_is_printed_as_a_tree(system, walk):
    answer = Recommender(walk).recommend(user_id="1", limit=1)
    walk.show_trace(answer["_trace_id"], {"gateway", "recommender", "inference"})

    tree = system.casebook("trace", answer["_trace_id"])

    assert "RecommenderService/Recommend" in tree
    assert "ModelInfer" in tree


@pytest.mark.parametrize(
    "topic", ["behaviour.events.v1", "recommendation.served.v1", "support.feedback.v1", "support.handoffs.v1"]
)
def test_no_dead_letters_are_left_by_a_healthy_system(system, topic):
    assert f"{topic} has no dead letters" in system.casebook("dlq", "list", topic)


@pytest.mark.parametrize("topic", ["catalogue.items.v1", "support.knowledge.v1"])
def test_no_event_of_what_every_replica_follows_is_skipped_in_a_healthy_system(system, topic):
    # Such a topic is read without a group, and has no dead letters: what cannot be read is skipped and logged.
    logs = [line for file in system.home.folder("logs").glob("*.log") for line in file.read_text().splitlines()]

    assert [line for line in logs if "a poison message was skipped" in line and topic in line] == []


def test_a_second_system_in_the_same_folder_is_refused(system):
    with pytest.raises(AssertionError, match="is in use by process"):
        system.casebook("up")
