"""Processes of the whole system are killed; what must go on goes on, what is lost is said, and all comes back."""

import uuid

import pytest

from tests.fixtures.system import until

pytestmark = pytest.mark.chaos


def click(walk, session, item):
    walk.call("POST", "/v1/events", {"session_id": session, "item_id": item, "action": "click"})


def healthy(walk, **who):
    """An answer in which every stage did its work, once there is one."""

    def look():
        response = walk.http.post("/v1/recommendations", json={"limit": 10, **who})
        return response.json() if response.is_success and response.json()["degraded"] == [] else None

    return until("an answer without fallbacks", look)


def test_a_click_during_the_consumers_death_counts_when_it_is_back(system, walk):
    session = f"chaos-{uuid.uuid4().hex[:8]}"
    system.kill("recommender", "consume")

    click(walk, session, "50")

    until("the click in an answer", lambda: healthy(walk, session_id=session)["history_length"] == 1)


def test_without_the_model_server_answers_go_on_and_say_so(system, walk):
    healthy(walk, user_id="196")
    system.process("inference", "serve").suspend()
    try:

        def degraded():
            response = walk.http.post("/v1/recommendations", json={"user_id": "196", "limit": 10})
            return response.json() if response.is_success and response.json()["degraded"] else None

        answer = until("an answer that names its fallbacks", degraded)
        assert len(answer["items"]) == 10
        system.kill("inference", "serve")
    except BaseException:
        system.process("inference", "serve").resume()
        raise

    healthy(walk, user_id="196")


def test_redis_dies_and_comes_back(system, walk):
    redis = next(process for process in system.processes() if "redis-server" in process.info["name"])
    redis.kill()

    healthy(walk, user_id="196")
    click(walk, f"chaos-{uuid.uuid4().hex[:8]}", "50")


@pytest.mark.parametrize("process", ["recommender serve", "gateway serve", "recommender relay", "recommender sink"])
def test_a_killed_process_is_started_again_and_the_system_answers(system, walk, process):
    before = system.process(*process.split()).pid

    system.kill(*process.split())

    until(f"a new {process}", lambda: system.process(*process.split()).pid != before)
    healthy(walk, user_id="196")
