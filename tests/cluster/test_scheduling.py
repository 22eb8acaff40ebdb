"""Where pods go, and how many there are, on nodes that kwok simulates: three zones or more, and a node with GPUs.

No container runs there, so nothing here is about what a pod does.
"""

import json
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from tests.fixtures.kubernetes import NAMESPACE, manifests, ready, until

pytestmark = [pytest.mark.timeout(900)]

ZONE = "topology.kubernetes.io/zone"
USES = "kwok.x-k8s.io/usage-cpu"
REPLICAS = 6
"""Two a zone, where there are three."""


@pytest.fixture(scope="module")
def nodes(cluster):
    """The nodes by name; skipped where they are not simulated."""
    found = {node["metadata"]["name"]: node for node in cluster.get("nodes")}
    simulated = {
        name: node for name, node in found.items() if node["metadata"]["annotations"].get("kwok.x-k8s.io/node")
    }
    if len(open_zones(simulated)) < 3:
        pytest.skip("needs nodes of kwok in three zones")
    return simulated


def open_zones(nodes):
    """The zones of the nodes that take any pod: no GPUs to be kept for others, not cordoned, not gone."""
    return {node["metadata"]["labels"].get(ZONE) for node in nodes.values() if not node["spec"].get("taints")} - {None}


def placed(cluster, name, count, component="serve"):
    """The nodes of a service's pods, once `count` of them are ready."""

    def there():
        pods = cluster.pods(name, component)
        return pods if len(pods) == count and all(map(ready, pods)) else None

    return [pod["spec"]["nodeName"] for pod in until(f"{count} pods of {name}", 120, there)]


def test_inference_goes_to_the_gpu_node_and_nothing_else_does(cluster, nodes):
    cluster.apply(manifests("overlays/gpu"))

    [node] = placed(cluster, "inference", 1)
    assert int(nodes[node]["status"]["allocatable"]["nvidia.com/gpu"]) > 0
    others = {name: placed(cluster, name, 1)[0] for name in ("gateway", "recommender", "support")}
    assert node not in others.values(), others
    there = [pod["metadata"]["name"] for pod in cluster.get("pods") if pod["spec"].get("nodeName") == node]
    assert there == [pod["metadata"]["name"] for pod in cluster.pods("inference")]


@pytest.fixture(scope="module")
def production(cluster, nodes):
    """The production overlay, alone. Simulated pods use next to no CPU, so the autoscalers keep their minimum."""
    cluster.remove()
    cluster.apply(manifests("overlays/production"))
    return cluster


def tell_autoscaler(cluster, name, **spec):
    cluster.kubectl("patch", f"hpa/{name}", "--type=merge", "-p", json.dumps({"spec": spec}))


@contextmanager
def six_of(cluster, name):
    """The nodes of a service's pods, while its autoscaler keeps six; two afterwards.

    Each asks for a core: with every service at six, a drained node's pods find no room on two nodes of eight cores.
    """
    tell_autoscaler(cluster, name, minReplicas=REPLICAS)
    try:
        yield placed(cluster, name, REPLICAS)
    finally:
        tell_autoscaler(cluster, name, minReplicas=2)

        def two():
            cluster.kubectl("scale", f"deployment/{name}", "--replicas=2")  # at once: the autoscaler waits five minutes
            return cluster.pods(name)

        until(f"two pods of {name} again", 60, two, lambda pods: len(pods) == 2)


@pytest.mark.parametrize("name", ["gateway", "recommender", "support", "inference"])
def test_replicas_spread_over_zones(production, nodes, name):
    with six_of(production, name) as there:
        zones = Counter(nodes[node]["metadata"]["labels"][ZONE] for node in there)

    counts = [zones[zone] for zone in open_zones(nodes)]
    assert sum(counts) == REPLICAS, zones
    assert max(counts) - min(counts) <= 1, zones


def test_a_drain_takes_one_pod_of_a_kind_at_a_time(production, nodes):
    with six_of(production, "gateway") as places:
        [(node, there)] = Counter(places).most_common(1)
        drain = production.start(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s"
        )
        fewest = REPLICAS
        try:
            deadline = time.monotonic() + 240
            while drain.poll() is None and time.monotonic() < deadline:
                for budget in production.get("pdb"):
                    status = budget["status"]
                    if budget["metadata"]["name"] == "gateway" and status["expectedPods"]:
                        fewest = min(fewest, status["currentHealthy"])
            said = drain.communicate(timeout=10)[0]
        finally:
            drain.kill()
            production.kubectl("uncordon", node)

    print(f"{there} gateways were on {node}; at fewest {fewest} of {REPLICAS} were there", said, sep="\n")
    assert drain.returncode == 0, said
    assert there >= 2, "one pod alone can't show it: fewer nodes are needed"
    assert fewest >= REPLICAS - 1


def unmeasured(cluster, name):
    """The pods of a service that the metrics API has nothing of, each with its node."""
    metrics = json.loads(cluster.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods"))
    measured = {each["metadata"]["name"] for each in metrics["items"]}
    nodes = {pod["metadata"]["name"]: pod["spec"].get("nodeName") for pod in cluster.pods(name)}
    return {pod: node for pod, node in nodes.items() if pod not in measured}


@pytest.mark.parametrize("name", ["recommender", "support"])
def test_an_autoscaler_goes_up_with_cpu_and_down_without(production, nodes, name):
    def use(cpu):
        names = [pod["metadata"]["name"] for pod in production.pods(name)]
        production.run("annotate", "--overwrite", "pod", *names, f"{USES}={cpu}")  # one of them may just be going
        return len(names)

    with six_of(production, name):
        # Before it goes down, an autoscaler counts a pod without metrics as using all that it asks for: two such pods
        # of four hold all four. So nodes that nobody measures must show here, not as an autoscaler that is stuck.
        until("metrics of every pod", 120, lambda: unmeasured(production, name), lambda without: without == {})
        quick = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        tell_autoscaler(production, name, minReplicas=2, behavior=quick)

        down = until("two replicas while little is used", 240, lambda: use("100m"), lambda count: count == 2)
        up = until("four replicas or more at full use", 120, lambda: use("1500m"), lambda count: count >= 4)
        until("two replicas again", 240, lambda: use("100m"), lambda count: count == 2)
    print(f"{name}: down {down}, up to {up}, down again")
