"""The local overlay on a cluster that really runs it: up, the walk, policies, an update under load, a canary, kills.

The cluster has the images of `make images` as casebook/*:dev, and casebook/recommender-canary:dev.
"""

import json
import re
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.walking import DEPLOYMENTS, TRACES, forwarded, key, start, walk
from tests.fixtures.kubernetes import NAMESPACE, manifests, ready, until

pytestmark = [pytest.mark.timeout(900)]

COMPONENTS = ("network-policies", "pdb")
OUTSIDE = "casebook-outside"
"""Another namespace, under no policy: where clients are."""
STORES = ("kafka", "redis", "postgres")


@pytest.fixture(scope="module")
def system(cluster):
    """The local overlay under its policies, up from nothing, and every Job done."""
    start(cluster, COMPONENTS)
    cluster.run("create", "namespace", OUTSIDE)
    yield cluster
    cluster.run("delete", "namespace", OUTSIDE, "--ignore-not-found")


def test_every_pod_is_ready(system):
    for pod in system.get("pods", "--field-selector=status.phase!=Succeeded"):
        assert ready(pod), pod["metadata"]["name"]


def test_the_walk_passes(system, tmp_path):
    walk(system, tmp_path)


# What a pod does until it is ended: tries all addresses at once (one that a policy drops takes its three seconds),
# prints those that are open as a line of JSON, and begins again.
TRY = """
import json, socket, sys, time
from concurrent.futures import ThreadPoolExecutor

def is_open(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError:
        return False
    return True

pause, *addresses = sys.argv[1:]
with ThreadPoolExecutor(len(addresses)) as pool:
    while True:
        found = dict(zip(addresses, pool.map(is_open, addresses)))
        print(json.dumps(sorted(address for address in found if found[address])), flush=True)
        time.sleep(float(pause))
"""
ROUNDS = 3
PAUSE_SECONDS = 5
"""Three rounds take ten seconds or more, and a policy reaches a pod a second or two after its start. Until then a
network may refuse everything: that must not pass for what the policy does."""


def assert_reaches(expected, cluster, name, namespace, labels, addresses):
    """A pod with these labels comes to reach, of these addresses, the expected ones alone: in three rounds running."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 180,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "try",
                    "image": "casebook/cli:dev",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", TRY, str(PAUSE_SECONDS), *addresses],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }

    def last_rounds():
        said = cluster.run("--namespace", namespace, "logs", name).stdout  # nothing yet, while the pod starts
        return [json.loads(line) for line in said.splitlines()][-ROUNDS:]

    cluster.kubectl("--namespace", namespace, "create", "-f", "-", given=json.dumps(pod))
    try:
        wanted = [sorted(expected)] * ROUNDS
        until(f"{name} to reach {wanted[0]} in {ROUNDS} rounds", 120, last_rounds, lambda rounds: rounds == wanted)
    finally:
        cluster.run("--namespace", namespace, "delete", "pod", name, "--grace-period=0", "--force")


STORE_PORTS = ["kafka:9092", "redis:6379", "postgres:5432"]
GRPC_PORTS = ["recommender:50051", "support:50051", "inference:50051"]


def test_a_pod_without_labels_reaches_nothing(system):
    addresses = [*STORE_PORTS, *GRPC_PORTS, "gateway:8080", "kubernetes.default.svc:443"]

    assert_reaches(set(), system, "stranger", NAMESPACE, {}, addresses)


def test_a_pod_reaches_what_its_labels_say_and_nothing_else(system):
    labels = {"casebook/uses-redis": "yes", "casebook/calls-inference": "yes"}

    assert_reaches(
        {"redis:6379", "inference:50051"}, system, "labelled", NAMESPACE, labels, [*STORE_PORTS, *GRPC_PORTS]
    )


def test_another_namespace_reaches_the_gateway_alone(system):
    addresses = [re.sub(":", f".{NAMESPACE}.svc:", each) for each in (*STORE_PORTS, *GRPC_PORTS, "gateway:8080")]

    assert_reaches({f"gateway.{NAMESPACE}.svc:8080"}, system, "outsider", OUTSIDE, {}, addresses)


@contextmanager
def load(cluster, clients=4, rate=12):
    """Load from outside the namespace, for the length of a block; gives what came of it, at its end."""
    script = (Path(__file__).parent / "load.py").read_text()
    command = ["python", "-c", script, f"http://gateway.{NAMESPACE}.svc:8080", key(), str(clients), str(rate)]
    container = {"name": "load", "image": "casebook/cli:dev", "imagePullPolicy": "IfNotPresent", "command": command}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "load"}, "spec": {"containers": [container]}}
    pod["spec"]["restartPolicy"] = "Never"
    there = ("--namespace", OUTSIDE)
    cluster.run(*there, "delete", "pod", "load", "--ignore-not-found", "--wait")
    cluster.kubectl(*there, "create", "-f", "-", given=json.dumps(pod))

    def last() -> dict:
        lines = [line for line in cluster.run(*there, "logs", "load").stdout.splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}

    outcome: dict = {}
    try:
        until("100 answers", 180, lambda: last().get("ok", 0) >= 100)
        yield outcome
        cluster.kubectl(*there, "exec", "load", "--", "python", "-c", "import os; os.kill(1, 15)")
        outcome.update(until("the load's account", 30, lambda: last() if "outcomes" in last() else {}))
        print(outcome)
    finally:
        cluster.run(*there, "delete", "pod", "load", "--grace-period=0", "--force")


def failures(outcome: dict) -> dict[str, int]:
    """What was not an answer. One with a fallback is: on a busy machine a stage may be late with nobody gone."""
    return {what: n for what, n in outcome["outcomes"].items() if what != "ok" and not what.startswith("degraded")}


@pytest.mark.parametrize("deployment", ["gateway", "recommender", "support", "inference"])
def test_a_rolling_update_under_load_fails_no_request(system, deployment):
    [before] = system.pods(deployment)
    with load(system) as outcome:
        system.kubectl("rollout", "restart", f"deployment/{deployment}")
        system.rolled_out(deployment)
        gone = before["metadata"]["name"]
        until(f"{gone} to be gone", 120, lambda: system.run("get", "pod", gone).returncode != 0)

    assert failures(outcome) == {}, outcome


def calls(cluster, pod) -> float:
    """How many recommendations a pod has answered."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9090/metrics').read().decode())"
    metrics = cluster.kubectl("exec", pod["metadata"]["name"], "--", "python", "-c", ask)
    line = r'^casebook_rpc_server_duration_seconds_count\{.*code="OK".*method="Recommend".*\} (\S+)'
    return sum(float(found) for found in re.findall(line, metrics, re.MULTILINE))


def test_a_canary_image_takes_its_share(system):
    system.apply(manifests("overlays/local", (*COMPONENTS, "canary"), **TRACES))
    try:
        system.rolled_out("recommender-canary")
        tracks = {pod["metadata"]["labels"]["casebook/track"]: pod for pod in system.pods("recommender")}
        assert tracks.keys() == {"stable", "canary"}
        images = {track: pod["spec"]["containers"][0]["image"] for track, pod in tracks.items()}
        assert images == {"stable": "casebook/recommender:dev", "canary": "casebook/recommender-canary:dev"}
        with load(system) as outcome:
            before = {track: calls(system, pod) for track, pod in tracks.items()}
            until("a hundred calls more", 60, lambda: calls(system, tracks["stable"]) - before["stable"] > 100)
            taken = {track: calls(system, pod) - before[track] for track, pod in tracks.items()}
        print(taken)
        assert 0.35 < taken["canary"] / sum(taken.values()) < 0.65, taken
        assert failures(outcome) == {}, outcome
    finally:
        system.kubectl("delete", "deployment", "recommender-canary", "--ignore-not-found")


@pytest.mark.parametrize("name", [*STORES, *DEPLOYMENTS])
def test_a_killed_pod_comes_back(system, name):
    service, _, component = name.partition("-")
    selector = f"app.kubernetes.io/name={service}"
    if name not in STORES:
        selector += f",app.kubernetes.io/component={component or 'serve'}"
    before = {pod["metadata"]["uid"] for pod in system.get("pods", "-l", selector)}
    started = time.monotonic()
    system.kubectl("delete", "pods", "-l", selector, "--grace-period=0", "--force")

    def again():
        found = [pod for pod in system.get("pods", "-l", selector) if pod["metadata"]["uid"] not in before]
        return found if found and all(map(ready, found)) else None

    until(f"another {name}", 240, again)
    came_back = time.monotonic() - started
    with forwarded(system, "service/gateway", 8080) as gateway:
        until("a whole answer and a click", 120, lambda: answers(gateway))
    print(f"{name}: ready again after {came_back:.0f} s, all well after {time.monotonic() - started:.0f} s")


def answers(gateway) -> bool:
    """Whether a recommendation and an answer of support come without fallbacks, and a click is taken."""
    import httpx

    with httpx.Client(base_url=gateway, headers={"Authorization": f"Bearer {key()}"}, timeout=10) as http:
        try:
            page = http.post("/v1/recommendations", json={"user_id": "196", "limit": 5})
            asked = {"knowledge_base": "bank", "question": "How do I change my PIN?"}
            answer = http.post("/v1/support/conversations", json=asked)
            click = http.post("/v1/events", json={"user_id": "196", "item_id": "302", "action": "click"})
        except httpx.HTTPError:
            return False
    whole = all(each.status_code == 200 and not each.json()["degraded"] for each in (page, answer))
    return whole and click.status_code == 202
