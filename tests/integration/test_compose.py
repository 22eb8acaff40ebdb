"""`docker compose up` from nothing: the walk holds, each service may be killed and comes back, volumes outlive it all.

Under a project name of its own, on a free port: a system that runs already is left alone.
"""

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from cli.processes import free_ports
from cli.walks import Walk
from tests.fixtures.system import until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]

CHECKOUT = Path(__file__).parents[2]
OURS = (
    "gateway",
    "inference",
    *("recommender", "recommender-consume", "recommender-relay", "recommender-sink"),
    *("support", "support-consume", "support-relay", "support-sink", "support-timers"),
)
SCRAPED = tuple(each.replace("-", " ") if "-" in each else f"{each} serve" for each in OURS)
"""The same, as Prometheus names them: service and process."""


class Compose:
    """The system's containers, by service."""

    def __init__(self, port: int) -> None:
        self._env = os.environ | {"COMPOSE_PROJECT_NAME": "casebook-test", "CASEBOOK_PORT": str(port)}
        self.gateway = f"http://127.0.0.1:{port}"

    def __call__(self, *arguments: str, **variables: str) -> str:
        """What `docker compose ARGUMENTS` prints; fails with it where its status is not 0."""
        env = self._env | variables
        ended = subprocess.run(
            ["docker", "compose", *arguments], cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"docker compose {' '.join(arguments)}:\n{ended.stdout}{ended.stderr[-4000:]}"
        return ended.stdout

    def container(self, service: str) -> str:
        """The id of its one container, running or not."""
        return self("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str, what: str) -> str:
        """A field of `docker inspect`, in Go's template language."""
        return subprocess.check_output(["docker", "inspect", "-f", what, self.container(service)], text=True).strip()


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """A system from nothing, ready; it and its volumes go with the module."""
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if engine.returncode != 0:
        pytest.skip(f"no Docker engine answers: {engine.stderr.strip()}")
    [port] = free_ports(1)
    compose = Compose(port)
    compose("build", "--quiet")
    try:
        started = time.monotonic()
        compose("up", "--detach", "--wait", "--wait-timeout", "300")
        print(f"ready {time.monotonic() - started:.0f} s after `docker compose up` from nothing")  # noqa: T201
        yield compose
    finally:
        compose("--profile", "*", "down", "--volumes", "--timeout", "5")


@pytest.fixture
def walk(compose: Compose) -> Iterator[Walk]:
    """A client with the first API key."""
    with walking(compose, compose("run", "--rm", "casebook", "keys", "show").strip()) as walk:
        yield walk


@contextmanager
def walking(compose: Compose, key: str) -> Iterator[Walk]:
    """A client with that API key."""
    with httpx.Client(base_url=compose.gateway, headers={"Authorization": f"Bearer {key}"}, timeout=10.0) as http:
        yield Walk(http, Console(width=120), CHECKOUT)


def recommended(walk: Walk) -> dict | None:
    response = walk.http.post("/v1/recommendations", json={"user_id": "196", "limit": 10})
    return response.json() if response.is_success and len(response.json()["items"]) == 10 else None


def asked(walk: Walk) -> dict | None:
    question = {"knowledge_base": "bank", "question": "How do I change my PIN?"}
    response = walk.http.post("/v1/support/conversations", json=question)
    return response.json() if response.is_success else None


def healthy(walk: Walk) -> bool:
    answers = recommended(walk), asked(walk)
    return all(answer is not None and answer["degraded"] == [] for answer in answers)


def click(walk: Walk, session: str) -> httpx.Response:
    return walk.http.post("/v1/events", json={"session_id": session, "item_id": "50", "action": "click"})


def put_item(walk: Walk, item: str = "") -> httpx.Response:
    """A new item, where none is named: one that is there with the same content would change nothing."""
    item = item or f"compose-{uuid.uuid4().hex[:8]}"
    content = {"title": "The Paper Lantern", "categories": ["Animation", "Children's", "Musical"], "year": 1998}
    return walk.http.put(f"/v1/items/{item}", json=content)


def put_article(walk: Walk) -> httpx.Response:
    said = uuid.uuid4().hex
    content = {"title": {"en": "A test of Compose"}, "answer": {"en": said}, "phrasings": {"en": [said]}}
    return walk.http.put("/v1/support/knowledge/bank/articles/compose", json=content)


def falls_back(walk: Walk, part: str) -> bool:
    """Recommendations name their fallbacks, and support the part that was away."""
    page, answer = recommended(walk), asked(walk)
    return page is not None and page["degraded"] != [] and answer is not None and part in answer["degraded"]


def words_alone_answer(walk: Walk) -> bool:
    return falls_back(walk, "model")


def nothing_is_remembered(walk: Walk) -> bool:
    return falls_back(walk, "context")


def takes_no_events(walk: Walk) -> bool:
    answer = click(walk, "nobody")
    return answer.status_code == 503 and "Retry-After" in answer.headers


def is_unavailable(walk: Walk) -> bool:
    return walk.http.post("/v1/recommendations", json={"user_id": "196"}).status_code == 503


def support_alone_is_unavailable(walk: Walk) -> bool:
    return asked(walk) is None and recommended(walk) is not None


def is_not_there(walk: Walk) -> bool:
    try:
        walk.http.get("/v1/models")
    except httpx.TransportError:
        return True
    return False


def test_every_step_of_the_walk_holds(compose):
    assert "Every step held" in compose("run", "--rm", "casebook", "walk")


@pytest.mark.parametrize(
    ("service", "meanwhile"),
    [
        ("gateway", is_not_there),
        ("recommender", is_unavailable),
        ("support", support_alone_is_unavailable),
        ("inference", words_alone_answer),
        ("redis", nothing_is_remembered),
        ("kafka", takes_no_events),
    ],
)
def test_a_killed_service_is_missed_as_its_readme_says_and_comes_back(compose, walk, service, meanwhile):
    until("a healthy answer", lambda: healthy(walk), 90)

    compose("kill", service)

    until(f"what holds without {service}", lambda: meanwhile(walk))
    compose("up", "--detach", "--wait", "--no-deps", service)
    until(f"a healthy answer with {service} back", lambda: healthy(walk), 90)
    until("an event is taken", lambda: click(walk, "somebody").is_success)


def test_without_postgres_changes_are_refused_and_answers_go_on_while_the_key_is_trusted(compose, walk):
    until("a healthy answer", lambda: healthy(walk), 90)
    new = walk.call("POST", "/v1/keys", {"principal": "compose", "roles": ["viewer", "operator"]})["key"]
    postgres = compose.container("postgres")
    with walking(compose, new) as trusted:
        assert healthy(trusted)  # the key's first use: it is trusted for ten seconds from now on
        subprocess.check_call(["docker", "kill", postgres], stdout=subprocess.DEVNULL)

        answers, refusals = (recommended(trusted), asked(trusted)), (put_item(trusted), put_article(trusted))

        assert all(answer is not None and answer["degraded"] == [] for answer in answers), answers
        for refused in refusals:
            assert (refused.status_code, "Retry-After" in refused.headers) == (503, True), refused.text
            assert refused.elapsed.total_seconds() < 10
        until("nobody to be let in", lambda: is_unavailable(trusted), 15)
    compose("up", "--detach", "--wait", "--no-deps", "postgres")
    until("changes to be taken", lambda: put_item(walk).is_success and put_article(walk).is_success, 90)
    until("a healthy answer with postgres back", lambda: healthy(walk), 90)


def test_a_click_during_the_consumers_death_counts_when_it_is_back(compose, walk):
    session = f"compose-{uuid.uuid4().hex[:8]}"

    def clicks() -> int:
        answer = {"session_id": session, "limit": 10}
        return int(walk.call("POST", "/v1/recommendations", answer)["history_length"])

    compose("kill", "recommender-consume")
    assert click(walk, session).is_success
    assert clicks() == 0

    compose("up", "--detach", "--wait", "--no-deps", "recommender-consume")
    until("the click in an answer", lambda: clicks() == 1)


@pytest.mark.parametrize(("service", "change"), [("recommender", put_item), ("support", put_article)])
def test_a_change_during_the_relays_death_is_published_when_it_is_back(compose, walk, service, change):
    unpublished = "SELECT count(*) FROM outbox WHERE published_at IS NULL"

    def waiting() -> int:
        return int(compose("exec", "-T", "postgres", "psql", "-d", service, "-Atc", unpublished))

    until("an empty outbox", lambda: waiting() == 0)
    compose("kill", f"{service}-relay")
    assert change(walk).is_success
    assert healthy(walk)
    assert waiting() == 1

    compose("up", "--detach", "--wait", "--no-deps", f"{service}-relay")
    until("the outbox to be empty again", lambda: waiting() == 0)


WRITTEN = """
import sys, pyarrow.dataset as files, pyarrow.compute as columns
rows = files.dataset("/sink/behaviour.events.v1", format="parquet")
print(rows.count_rows(filter=columns.field("session_id") == sys.argv[1]))
"""


def test_a_click_during_the_sinks_death_is_a_row_when_it_is_back(compose, walk):
    session = f"compose-{uuid.uuid4().hex[:8]}"
    compose("kill", "recommender-sink")
    assert click(walk, session).is_success
    assert healthy(walk)

    compose("up", "--detach", "--wait", "--no-deps", "recommender-sink")
    script = ("exec", "-T", "recommender-sink", "python", "-c", WRITTEN, session)
    # The dead member is in its group for another 45 s, and a file is written every ten.
    until("the click's row", lambda: int(compose(*script)) == 1, 90)


def test_a_process_that_ends_is_started_again(compose, walk):
    def restarts() -> int:
        return int(compose.inspect("recommender", "{{.RestartCount}}"))

    before = restarts()
    compose("exec", "recommender", "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")

    until("a restart", lambda: restarts() > before)
    until("a healthy answer", lambda: healthy(walk), 90)


def test_volumes_outlive_the_containers(compose, walk):
    session = f"compose-{uuid.uuid4().hex[:8]}"
    assert put_item(walk, "compose-1").is_success
    assert click(walk, session).is_success
    asked = {"session_id": session, "limit": 10}
    until("the click in an answer", lambda: walk.call("POST", "/v1/recommendations", asked)["history_length"] == 1)

    compose("stop", *OURS)
    ended = {service: compose.inspect(service, "{{.State.ExitCode}}") for service in OURS}
    compose("down")
    compose("up", "--detach", "--wait")

    assert set(ended.values()) == {"0"}, f"SIGTERM did not end all in time and in order: {ended}"
    assert walk.call("GET", "/v1/items/compose-1")["title"] == "The Paper Lantern"
    assert walk.call("POST", "/v1/recommendations", asked)["history_length"] == 1, "Redis' volume"
    until("a healthy answer", lambda: healthy(walk), 90)


def test_one_trace_goes_through_the_collector_into_jaeger_and_prometheus_finds_every_process(compose, walk):
    through = {"CASEBOOK_OTLP_ENDPOINT": "http://otel-collector:4317"}
    compose("--profile", "observability", "up", "--detach", "--wait", **through)
    jaeger, prometheus = (
        httpx.Client(base_url=f"http://{compose('port', service, port).strip()}", timeout=10.0)
        for service, port in (("jaeger", "16686"), ("prometheus", "9090"))
    )
    until("a healthy answer", lambda: healthy(walk), 90)
    answer = walk.call("POST", "/v1/recommendations", {"user_id": "196", "limit": 10})
    event = walk.call("POST", "/v1/events", {"session_id": "traced", "item_id": "50", "action": "click"})
    question = {"knowledge_base": "bank", "question": "My card has been stolen"}
    turn = walk.call("POST", "/v1/support/conversations", question)

    def services_of(trace: str) -> set[str]:
        found = jaeger.get(f"/api/traces/{trace}").json().get("data") or []
        return {process["serviceName"] for each in found for process in each["processes"].values()}

    def not_scraped() -> list[str]:
        up = prometheus.get("/api/v1/query", params={"query": "up"}).json()["data"]["result"]
        seen = {f"{each['metric'].get('service')} {each['metric'].get('process')}": each["value"][1] for each in up}
        return [name for name in SCRAPED if seen.get(name) != "1"]

    until(
        "the recommendation in Jaeger",
        lambda: services_of(answer["_trace_id"]) >= {"gateway", "recommender", "inference"},
    )
    until("the event in Jaeger", lambda: services_of(event["_trace_id"]) >= {"gateway", "recommender"})
    until("the question in Jaeger", lambda: services_of(turn["_trace_id"]) >= {"gateway", "support", "inference"})
    until("every process scraped", lambda: not not_scraped(), 60)
