"""Where pods go, and how many there are, on nodes that kwok simulates: three zones, and a node with GPUs.

No container runs there, so nothing here is about what a pod does.
"""

import json
import time
from collections import Counter

import pytest

from tests.fixtures.kubernetes import manifests, ready, until

pytestmark = [pytest.mark.timeout(600)]

ZONE = "topology.kubernetes.io/zone"
USES = "kwok.x-k8s.io/usage-cpu"


@pytest.fixture(scope="module")
def nodes(cluster):
    """The nodes by name; skipped where they are not simulated."""
    found = {node["metadata"]["name"]: node for node in cluster.get("nodes")}
    simulated = {
        name: node for name, node in found.items() if node["metadata"]["annotations"].get("kwok.x-k8s.io/node")
    }
    if len({node["metadata"]["labels"].get(ZONE) for node in simulated.values()}) < 3:
        pytest.skip("needs nodes of kwok in three zones")
    return simulated


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
    others = [placed(cluster, name, 1)[0] for name in ("gateway", "recommender")]
    assert node not in others
    cluster.remove()


@pytest.fixture(scope="module")
def production(cluster, nodes):
    cluster.apply(manifests("overlays/production"))
    # Simulated pods use no CPU unless they say so: at what they ask for, the autoscalers keep two.
    return cluster


@pytest.mark.parametrize("name", ["gateway", "recommender", "inference"])
def test_replicas_spread_over_zones(production, nodes, name):
    production.kubectl("patch", f"hpa/{name}", "--type=merge", "-p", json.dumps({"spec": {"minReplicas": 6}}))

    zones = Counter(nodes[node]["metadata"]["labels"][ZONE] for node in placed(production, name, 6))

    assert max(zones.values()) - min(zones.values()) <= 1, zones
    assert len(zones) == 3, zones


def test_a_drain_takes_one_pod_of_a_kind_at_a_time(production, nodes):
    node = placed(production, "gateway", 6)[0]
    there = sum(each == node for each in placed(production, "gateway", 6))
    drain = production.start(
        "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s"
    )
    fewest = 6
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

    print(f"{there} gateways were on {node}; at fewest {fewest} of 6 were there", said, sep="\n")
    assert drain.returncode == 0, said
    assert there >= 2
    assert fewest >= 5


def test_an_autoscaler_goes_up_with_cpu_and_down_without(production, nodes):
    quick = {"spec": {"minReplicas": 2, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}
    production.kubectl("patch", "hpa/recommender", "--type=merge", "-p", json.dumps(quick))

    def use(cpu):
        for pod in production.pods("recommender"):
            production.run("annotate", "--overwrite", "pod", pod["metadata"]["name"], f"{USES}={cpu}")
        return len(production.pods("recommender"))

    use("100m")
    down = until("two replicas while little is used", 240, lambda: use("100m") == 2)
    up = until("four replicas or more at full use", 120, lambda: (count := use("1500m")) >= 4 and count)
    until("two replicas again", 240, lambda: use("100m") == 2)
    print(f"down {down}, up to {up}, down again")
