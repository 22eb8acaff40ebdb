"""The load's Jobs beside the local overlay: a master that judges, two workers, and what the system's telemetry says.

Whether the promises hold is the cluster's affair: what is asked is that the verdict is one, of all users and processes.
"""

import json

import pytest
import yaml

from loadtests import slos
from tests.cluster.walking import TRACES, start
from tests.fixtures.kubernetes import K8S, manifests, until

pytestmark = [pytest.mark.timeout(900)]

COMPONENTS = {
    "in plain text": ("network-policies", "pdb"),
    "over TLS": ("network-policies", "pdb", "tls"),
}
CALLED = {
    "POST /v1/recommendations",
    "POST /v1/support/conversations",
    "gRPC RecommenderService/Recommend",
    "gRPC SupportService/Ask",
    "gRPC GRPCInferenceService/ModelInfer din",
}
"""Over HTTP and gRPC, of every case."""


def over(job):
    """How the Job ended, Complete or Failed; empty while it runs."""
    conditions = job["status"].get("conditions", ())
    return next((each["type"] for each in conditions if each["type"] in ("Complete", "Failed")), "")


@pytest.mark.parametrize("components", COMPONENTS.values(), ids=COMPONENTS)
def test_the_job_ends_with_its_verdict(cluster, components):
    cluster.remove()
    start(cluster, components)
    # `tls` patches what is there: it comes after `load`.
    cluster.apply(manifests("overlays/local", ("load", *components), **TRACES))

    verdict = until("the verdict", 600, lambda: over(cluster.get("jobs", "--field-selector=metadata.name=load")[0]))
    log = cluster.kubectl("logs", "job/load")
    print(log)

    [summary] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    design = summary["steps"][0]
    assert design["endpoints"].keys() >= CALLED
    assert design["endpoints"].keys() <= slos.read(slos.SHIPPED).keys()
    assert design["all"]["failures"] == 0, summary["failures"]
    assert design["cores"].keys() >= measured()
    assert (verdict == "Complete") is summary["holds"]
    workers = cluster.get("pods", "-l", "app.kubernetes.io/name=load,app.kubernetes.io/component=worker")
    assert sum(each["status"]["phase"] == "Succeeded" for each in workers) == 2


def measured() -> set[str]:
    """The processes that the master looks at, by its manifest."""
    manifest = yaml.safe_load_all((K8S / "components" / "load" / "load.yaml").read_text())
    [master] = [each for each in manifest if each["kind"] == "Job" and each["metadata"]["name"] == "load"]
    environment = master["spec"]["template"]["spec"]["containers"][0]["env"]
    [value] = [each["value"] for each in environment if each["name"] == "CASEBOOK_METRICS"]
    return {pair.split("=")[0].strip() for pair in value.split(",")}
