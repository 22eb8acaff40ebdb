"""The local overlay on a cluster, the way into it from this machine, and the walk along it."""

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.fixtures.kubernetes import K8S, ROOT, manifests

TRACES = {
    "configMapGenerator": [
        {"name": "casebook", "behavior": "merge", "literals": ["CASEBOOK_TRACE_FILE=/tmp/traces.jsonl"]}
    ]
}
"""For `manifests`: where `walk` looks for traces."""
BASE = [each for file in sorted(K8S.glob("base/*.yaml")) for each in yaml.safe_load_all(file.read_text())]
DEPLOYMENTS = [each["metadata"]["name"] for each in BASE if isinstance(each, dict) and each["kind"] == "Deployment"]


def start(cluster, components) -> None:
    """The local overlay with components, from nothing to every Deployment ready and every Job done."""
    started = time.monotonic()
    cluster.apply(manifests("overlays/local", components, **TRACES))
    for deployment in DEPLOYMENTS:
        cluster.rolled_out(deployment, 600)
    print(f"every Deployment is ready after {time.monotonic() - started:.0f} s")
    cluster.kubectl("wait", "--for=condition=Complete", "job", "--all", "--timeout=300s", timeout=310)
    print(f"every Job is done after {time.monotonic() - started:.0f} s")


def key() -> str:
    return (K8S / "overlays" / "local" / "secrets" / "api_key").read_text()


@contextmanager
def forwarded(cluster, target, port):
    """A local address that leads to a port of a Service or pod."""
    process = cluster.start("port-forward", target, f":{port}")
    try:
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def traces_gathered(cluster, folder: Path):
    """Every pod's trace file, copied into `folder` again and again."""
    stop = threading.Event()

    def gather():
        while not stop.wait(0.5):
            for name in ("gateway", "recommender", "support", "inference"):
                for pod in cluster.get("pods", "-l", f"app.kubernetes.io/name={name}"):
                    found = cluster.run("exec", pod["metadata"]["name"], "--", "cat", "/tmp/traces.jsonl")
                    if found.returncode == 0:
                        (folder / "new").write_text(found.stdout)
                        (folder / "new").rename(folder / f"{pod['metadata']['name']}.jsonl")

    thread = threading.Thread(target=gather)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def walk(cluster, folder: Path) -> None:
    """The walk of `make demo-check` through the cluster's gateway; fails with what it printed."""
    with forwarded(cluster, "service/gateway", 8080) as gateway, traces_gathered(cluster, folder):
        command = [
            sys.executable,
            "-m",
            "cli",
            "walk",
            "--gateway",
            gateway,
            "--api-key",
            key(),
            "--traces",
            str(folder),
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "services"), "CASEBOOK_HOME": str(folder / "home")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
