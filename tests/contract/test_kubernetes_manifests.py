"""What kustomize makes of k8s/: each overlay, each component alone, all together; schemas, and this project's rules."""

import json
import re
from functools import cache
from importlib import import_module
from itertools import chain

import kubernetes_validate
import pytest
import yaml

from chassis.settings import Settings
from loadtests.telemetry import Sources
from tests.fixtures.kubernetes import K8S, ROOT, manifests

VERSION = "1.34"
COMPONENTS = sorted(folder.name for folder in (K8S / "components").iterdir())
BUILDS = {
    "local": ("overlays/local", ()),
    "gpu": ("overlays/gpu", ()),
    "production": ("overlays/production", ()),
    **{f"local with {component}": ("overlays/local", (component,)) for component in COMPONENTS},
    "local with all": ("overlays/local", tuple(COMPONENTS)),
    "production with all": ("overlays/production", ("canary", "gpu", "monitoring", "tls", "triton")),
}
SECTIONS = ("ServiceAccount", "ConfigMap", "Role", "RoleBinding", "Deployment", "StatefulSet", "Service")
"""The order in which a service's file says things."""
ASKS_THE_API_SERVER = {"prometheus"}
IS_CALLED = {
    "CASEBOOK_TLS_CERT_FILE": "tls.crt",
    "CASEBOOK_TLS_KEY_FILE": "tls.key",
    "CASEBOOK_TLS_CLIENT_CA_FILE": "ca.crt",
}
CALLS = {
    "CASEBOOK_TLS_CA_FILE": "ca.crt",
    "CASEBOOK_TLS_CLIENT_CERT_FILE": "tls.crt",
    "CASEBOOK_TLS_CLIENT_KEY_FILE": "tls.key",
}
"""With the component tls: which file of a service's certificate each variable names."""
SETTINGS = [
    declared
    for file in sorted((ROOT / "services").glob("*/settings.py"))
    for declared in vars(import_module(f"{file.parent.name}.settings")).values()
    if isinstance(declared, type) and issubclass(declared, Settings)
]

every_build = pytest.mark.parametrize("build", BUILDS)


@cache
def rendered(build: str) -> tuple[dict, ...]:
    return tuple(yaml.load_all(manifests(*BUILDS[build]), yaml.CSafeLoader))


def workloads(build: str) -> list[dict]:
    return [each for each in rendered(build) if each["kind"] in ("Deployment", "StatefulSet", "Job")]


def pod(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]


def containers(workload: dict) -> list[dict]:
    return [*pod(workload).get("initContainers", ()), *pod(workload)["containers"]]


def named(workload: dict) -> str:
    return f"{workload['kind']} {workload['metadata']['name']}"


def selects(selector: dict, labels: dict) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


@cache
def complaint(document: str) -> str:
    try:
        kubernetes_validate.validate(json.loads(document), VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return ""


@every_build
def test_every_object_fits_its_schema_and_has_no_unknown_field(build):
    complaints = {f"{each['kind']} {each['metadata']['name']}": complaint(json.dumps(each)) for each in rendered(build)}

    assert {name: why for name, why in complaints.items() if why} == {}


@every_build
def test_every_container_is_restricted_and_bounded(build):
    for workload in workloads(build):
        shared = pod(workload)["securityContext"]
        assert shared["runAsNonRoot"], named(workload)
        assert shared["runAsUser"] > 0, named(workload)
        assert shared["seccompProfile"] == {"type": "RuntimeDefault"}, named(workload)
        name = workload["metadata"]["name"]
        assert pod(workload)["automountServiceAccountToken"] is (name in ASKS_THE_API_SERVER), named(workload)
        for container in containers(workload):
            where = f"{named(workload)}, container {container['name']}"
            restricted = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["securityContext"] == restricted, where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
            # No limit of CPU: it stops a request in its midst while a core is idle. Shares follow the requests.
            assert "memory" in container["resources"]["limits"], where
            assert not container["image"].endswith(":latest"), where
            assert ":" in container["image"], where


@every_build
def test_whatever_keeps_running_is_probed_and_has_time_to_drain(build):
    for workload in workloads(build):
        if workload["kind"] == "Job":
            continue
        for container in pod(workload)["containers"]:
            where = f"{named(workload)}, container {container['name']}"
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), where
            shared = settings_of(build, container)
            if shared:
                leaves = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                drains = int(shared["CASEBOOK_DRAIN_NOTICE_SECONDS"]) + int(shared["CASEBOOK_DRAIN_SECONDS"])
                assert pod(workload)["terminationGracePeriodSeconds"] >= leaves + drains + 10, where


@every_build
def test_a_job_ends_whatever_comes_of_it(build):
    for workload in workloads(build):
        if workload["kind"] == "Job":
            assert {"activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"} <= workload["spec"].keys(), (
                named(workload)
            )


@pytest.mark.parametrize("build", ["local with load", "local with all"])
def test_the_load_looks_at_every_process(build):
    """By the names of `make load`, at a Service whose pods are that process' own."""
    [master] = [each for each in workloads(build) if named(each) == "Job load"]
    services = {each["metadata"]["name"]: each["spec"] for each in rendered(build) if each["kind"] == "Service"}
    looked_at = Sources.parse(variables(pod(master)["containers"][0])["CASEBOOK_METRICS"], "").metrics
    found = {}
    for workload in workloads(build):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        if {"name": "ops", "containerPort": 9090} not in pod(workload)["containers"][0].get("ports", ()):
            continue
        process = f"{labels['app.kubernetes.io/name']} {labels['app.kubernetes.io/component']}"
        host, _, port = looked_at[process].partition(":")
        assert selects(services[host]["selector"], labels), process
        assert (services[host]["clusterIP"], port) == ("None", "9090"), f"{process}: a name of all its pods"
        found[process] = looked_at[process]

    assert found == looked_at


@every_build
def test_a_grpc_server_leaves_once_no_client_can_know_it(build):
    """A name is cached for 30 s at most (kubeadm's CoreDNS), and a client looks it up anew with each connection."""
    for workload in workloads(build):
        for container in pod(workload)["containers"]:
            if is_called(build, container):
                age = float(settings_of(build, container)["CASEBOOK_CONNECTION_AGE_SECONDS"])
                leaves = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                assert leaves > 30 + age * 1.1, "gRPC spreads the age by a tenth"


def is_called(build: str, container: dict) -> bool:
    """Whether it is a process of ours that serves gRPC."""
    return bool(settings_of(build, container)) and "grpc" in {port["name"] for port in container.get("ports", ())}


@pytest.mark.parametrize("build", [build for build, (_, components) in BUILDS.items() if "tls" in components])
def test_whoever_calls_or_is_called_shows_a_certificate_of_its_own(build):
    called = {w["metadata"]["labels"]["app.kubernetes.io/name"] for w in workloads(build) if serves_grpc(build, w)}
    for workload in workloads(build):
        container, labels = pod(workload)["containers"][0], workload["spec"]["template"]["metadata"]["labels"]
        files = IS_CALLED if serves_grpc(build, workload) else {}
        if any(f"casebook/calls-{name}" in labels for name in called):
            files = files | CALLS
        shown = {name: file for name, file in variables(container).items() if name.startswith("CASEBOOK_TLS_")}
        assert shown == {name: f"/run/secrets/certificate/{file}" for name, file in files.items()}, named(workload)
        if files:
            [mount] = [each for each in container["volumeMounts"] if each["mountPath"] == "/run/secrets/certificate"]
            [volume] = [each for each in pod(workload)["volumes"] if each["name"] == mount["name"]]
            assert volume["secret"]["secretName"].startswith(f"{labels['app.kubernetes.io/name']}-certificate")
            probes = [container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness")]
            assert not any("grpc" in probe for probe in probes), f"{named(workload)}: Kubernetes' gRPC probe has no TLS"


def serves_grpc(build: str, workload: dict) -> bool:
    return is_called(build, pod(workload)["containers"][0])


def variables(container: dict) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container.get("env", ())}


def settings_of(build: str, container: dict) -> dict[str, str]:
    maps = {each["metadata"]["name"]: each["data"] for each in rendered(build) if each["kind"] == "ConfigMap"}
    sources = [source["configMapRef"]["name"] for source in container.get("envFrom", ()) if "configMapRef" in source]
    if not any(name.startswith("casebook") for name in sources):
        return {}
    return {name: value for source in sources for name, value in maps[source].items()}


@every_build
def test_every_variable_is_a_setting(build):
    known = {f"CASEBOOK_{field}".upper() for settings in SETTINGS for field in settings.model_fields}
    known |= {"CASEBOOK_API_KEY", "CASEBOOK_METRICS"}  # the load's: loadtests/README.md
    for workload in workloads(build):
        for container in containers(workload):
            direct = {variable["name"] for variable in container.get("env", ())}
            variables = direct | settings_of(build, container).keys()
            ours = {name.removesuffix("_FILE") for name in variables if name.startswith("CASEBOOK_")} - known
            ours = {name for name in ours if f"{name}_FILE" not in known}
            assert ours == set(), named(workload)


@every_build
def test_every_name_that_is_used_is_there(build):
    there = {(each["kind"], each["metadata"]["name"]) for each in rendered(build)}
    used = set()
    for workload in workloads(build):
        used.add(("ServiceAccount", pod(workload)["serviceAccountName"]))
        for volume in pod(workload).get("volumes", ()):
            if "configMap" in volume:
                used.add(("ConfigMap", volume["configMap"]["name"]))
            if "secret" in volume:
                used.add(("Secret", volume["secret"]["secretName"]))
        for source in chain.from_iterable(container.get("envFrom", ()) for container in containers(workload)):
            used.add(("ConfigMap", source["configMapRef"]["name"]))
    if build.startswith("production"):
        assert {name for kind, name in used if kind == "Secret"} <= documented_secrets()
        used = {(kind, name) for kind, name in used if kind != "Secret"}
    assert used <= there


def documented_secrets() -> set[str]:
    """The Secrets that production expects, as the table in k8s/README.md names them."""
    return set(
        re.findall(r"^\| `([a-z-]+)` \| (?:`[a-z_.]+`(?:, )?)+ \|", (K8S / "README.md").read_text(), re.MULTILINE)
    )


@every_build
def test_every_service_budget_and_autoscaler_finds_its_pods(build):
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads(build)]
    deployments = {workload["metadata"]["name"] for workload in workloads(build) if workload["kind"] == "Deployment"}
    for each in rendered(build):
        if each["kind"] == "Service":
            assert any(selects(each["spec"]["selector"], found) for found in labels), each["metadata"]
        if each["kind"] == "PodDisruptionBudget":
            assert any(selects(each["spec"]["selector"]["matchLabels"], found) for found in labels), each["metadata"]
        if each["kind"] == "HorizontalPodAutoscaler":
            assert each["spec"]["scaleTargetRef"]["name"] in deployments


def test_a_canary_is_of_one_deployment():
    tracks = {
        named(w): w["spec"]["template"]["metadata"]["labels"].get("casebook/track")
        for w in workloads("local with canary")
    }

    assert [name for name, track in tracks.items() if track == "canary"] == ["Deployment recommender-canary"]
    assert [name for name in tracks if name.endswith("-canary")] == ["Deployment recommender-canary"]


def test_what_a_pod_says_it_uses_it_may_reach():
    """A label `casebook/uses-x` or `casebook/calls-x` without a policy of that name would lead nowhere."""
    policies = {each["metadata"]["name"] for each in rendered("local with all") if each["kind"] == "NetworkPolicy"}
    labels = chain.from_iterable(w["spec"]["template"]["metadata"]["labels"] for w in workloads("local with all"))
    ways = {label.removeprefix("casebook/") for label in labels if re.match("casebook/(uses|calls)-", label)}

    assert ways <= policies
    assert {way.partition("-")[2] for way in ways} <= policies, "and the other end lets it in"


def test_a_services_file_says_things_in_one_order():
    files = [*K8S.glob("base/*.yaml"), *K8S.glob("overlays/local/*.yaml"), *K8S.glob("components/*/*.yaml")]
    for file in files:
        kinds = [each["kind"] for each in yaml.safe_load_all(file.read_text()) if isinstance(each, dict)]
        places = [SECTIONS.index(kind) for kind in kinds if kind in SECTIONS]
        if "Deployment" in kinds or "StatefulSet" in kinds:
            assert places == sorted(places), file


def test_third_parties_are_the_ones_of_compose():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    theirs = {service["image"] for service in compose if not service.get("image", "casebook/").startswith("casebook/")}
    ours = {container["image"] for w in workloads("local with all") for container in containers(w)}
    third_parties = {image for image in ours if not image.startswith(("casebook/", "nvcr.io/"))}

    assert third_parties <= theirs


@pytest.mark.parametrize(("folder", "files"), [("prometheus", "rules/*.yaml"), ("grafana", "dashboards/*.json")])
def test_every_rule_and_dashboard_is_in_the_component(folder, files):
    where = ROOT / "infra" / folder
    generators = yaml.safe_load((where / "kustomization.yaml").read_text())["configMapGenerator"]
    listed = {file for generator in generators for file in generator["files"]}

    assert {str(file.relative_to(where)) for file in where.glob(files)} <= listed
