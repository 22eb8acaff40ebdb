"""A short ramp on the whole system: over HTTP and gRPC, with what its telemetry says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from loadtests import slos
from tests.fixtures.system import RunningSystem

CHECKOUT = Path(__file__).parents[2]
LENIENT = {"p50_ms": 10_000, "p99_ms": 10_000, "error_rate": 1.0}
"""The machine of a test may be busy: what is asked is who was called and what was seen, not how fast."""


def test_a_ramp_over_http_and_grpc_says_where_its_time_went(system: RunningSystem, tmp_path: Path) -> None:
    promises = tmp_path / "slos.yaml"
    promises.write_text(yaml.safe_dump({"endpoints": dict.fromkeys(slos.read(slos.SHIPPED), LENIENT)}))
    home = system.home
    environment = os.environ | home.addresses() | {
        "CASEBOOK_API_KEY_FILE": str(home.api_key_file),
        "CASEBOOK_TOKEN_KEYS": home.token_keys,
        "PYTHONPATH": f"{CHECKOUT / 'services'}{os.pathsep}{CHECKOUT}",
    }  # fmt: skip
    files = ",".join(str(CHECKOUT / "loadtests" / name) for name in ("locustfile.py", "ramp.py"))
    command = [
        *(sys.executable, "-m", "locust", "-f", files, "--headless", "--only-summary", "--slos", str(promises)),
        *("--summary", str(tmp_path / "summary.json"), "--html", str(tmp_path / "report.html")),
        *("--design-users", "26", "--design-seconds", "14", "--steps", "1", "--step-seconds", "9"),
    ]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=55, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [step["users"] for step in summary["steps"]] == [26, 39]
    called = set(summary["steps"][0]["endpoints"])
    assert {"POST /v1/recommendations", "gRPC RecommenderService/Recommend"} <= called
    assert {"gRPC GRPCInferenceService/ModelInfer din", "gRPC GRPCInferenceService/ModelInfer dssm_user"} <= called
    assert {"POST /v1/support/conversations", "GET /v1/support/handoffs", "gRPC SupportService/Ask"} <= called
    servers = {f"{name} serve" for name in ("gateway", "recommender", "support", "inference")}
    assert servers <= set(summary["steps"][1]["cores"])
    layers = {endpoint: {layer["layer"] for layer in found} for endpoint, found in summary["reasons"]["layers"].items()}
    assert {"stage recall", "stage ranking", "model server: din computes"} <= layers["POST /v1/recommendations"]
    turn = {"stage encode", "stage search", "model server: encoder_zh computes"}
    assert turn <= layers["POST /v1/support/conversations"]
    assert (tmp_path / "report.html").stat().st_size > 10_000
