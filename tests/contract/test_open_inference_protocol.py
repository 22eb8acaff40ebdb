"""The Open Inference Protocol as NVIDIA's client speaks it, and health as Kubernetes asks for it."""

import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.fixtures.inference import (
    VIEWER,
    ModelFolder,
    identity_model,
    inference_servers,
    metadata,
    mlp_model,
    scale_model,
    token,
)

CLIENT = Path(__file__).with_name("triton_client.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with models of several kinds, in which `scale` has a version 2 that is not released."""
    folder = tmp_path_factory.mktemp("contract")
    models = ModelFolder(folder / "models")
    models.put("scale", 1, scale_model(1), 'parameters { key: "initial_stable" value { string_value: "1" } }')
    models.put("scale", 2, scale_model(2))
    models.put("mlp", 1, mlp_model(), "max_batch_size: 256 dynamic_batching { max_queue_delay_microseconds: 100 }")
    models.put("text", 1, identity_model(TensorProto.STRING))
    models.put("half", 1, identity_model(TensorProto.FLOAT16))
    with inference_servers(folder) as start:
        yield start(models)


@pytest.fixture(scope="module")
def seen(server):
    """What tritonclient saw."""
    done = subprocess.run(
        [sys.executable, str(CLIENT), server.address, token()], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_live_and_ready(seen):
    assert seen["live"]
    assert seen["ready"]
    assert seen["model_ready"]
    assert not seen["version_ready"]


def test_the_server_lists_what_it_serves_and_streaming_is_not_in_it(seen):
    extensions = seen["server"]["extensions"]
    assert {"model_configuration", "model_repository", "statistics"} <= set(extensions)
    assert not any("stream" in name or "shared_memory" in name or "sequence" in name for name in extensions)


def test_metadata_with_the_batch_dimension_and_configuration_without(seen):
    assert seen["metadata"]["inputs"] == [{"name": "features", "datatype": "FP32", "shape": ["-1", "64"]}]
    assert seen["metadata"]["outputs"] == [{"name": "score", "datatype": "FP32", "shape": ["-1", "1"]}]
    assert seen["metadata"]["versions"] == ["1"]
    assert seen["config"]["max_batch_size"] == 256
    assert seen["config"]["input"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": ["64"]}]
    assert seen["config"]["dynamic_batching"] == {"max_queue_delay_microseconds": "100"}


def test_raw_contents_with_id_and_parameters_echoed(seen):
    assert seen["raw"] == {"version": "1", "id": "call-7", "key": "u1", "values": [[1.0] * 3] * 2, "raw": True}


def test_typed_contents_are_answered_typed(seen):
    assert seen["typed"] == {"values": [1.0, 2.0, 3.0], "raw": False}


def test_strings_and_half_precision(seen):
    assert seen["strings"] == ["a", "é", ""]
    assert seen["half"] == [[0.5, 1.0, 2.0]]


def test_outputs_are_chosen_by_name(seen):
    assert seen["chosen_outputs"] == ["y"]


@pytest.mark.parametrize(
    ("case", "code", "names"),
    [
        ("no_model", "NOT_FOUND", ["'nothing'"]),
        ("no_version", "NOT_FOUND", ["'9'", "scale"]),
        ("shape", "INVALID_ARGUMENT", ["inputs['x'].shape", "[-1, 3]", "[2, 4]"]),
        ("datatype", "INVALID_ARGUMENT", ["inputs['x'].datatype", "FP32", "FP64"]),
        ("size", "INVALID_ARGUMENT", ["inputs['x']", "24 bytes", "20 bytes"]),
        ("missing", "INVALID_ARGUMENT", ["inputs['x']", "missing", "FP32"]),
        ("extra", "INVALID_ARGUMENT", ["inputs['z']", "takes no such input"]),
        ("no_token", "UNAUTHENTICATED", ["no bearer token"]),
        ("too_large", "RESOURCE_EXHAUSTED", ["larger than max"]),
    ],
)
def test_bad_calls_end_in_their_status_and_name_what_is_wrong(seen, case, code, names):
    received_code, message = seen["errors"][case]
    assert received_code == code
    assert all(name in message for name in names), message


def test_unload_and_load(seen):
    repository = seen["repository"]
    assert repository["before"]["scale/1"] == "READY"
    assert repository["before"]["scale/2"] == "UNAVAILABLE"
    assert repository["unloaded"]["scale/1"] in ("UNLOADING", "UNAVAILABLE")
    assert not repository["ready_when_unloaded"]
    assert repository["infer_when_unloaded"][0] == "UNAVAILABLE"
    assert repository["loaded"]["scale/1"] == repository["loaded"]["scale/2"] == "READY"
    assert repository["newest_by_name"] == [[2.0] * 3] * 2
    assert repository["stable_after"] == "1"
    assert repository["load_nothing"][0] == "NOT_FOUND"
    assert repository["load_other_files"][0] == "INVALID_ARGUMENT"


def test_statistics_of_a_version_and_of_everything(seen):
    [kept] = seen["statistics"]["model_stats"]
    # Since it was loaded again: one call, of two rows, to a model that has no batch dimension of the server's.
    assert (kept["name"], kept["version"]) == ("scale", "1")
    assert (kept["inference_count"], kept["execution_count"]) == ("1", "1")
    assert kept["inference_stats"]["success"]["count"] == "1"
    assert int(kept["inference_stats"]["success"]["ns"]) >= int(kept["inference_stats"]["compute_infer"]["ns"]) > 0
    assert kept["batch_stats"][0]["batch_size"] == "1"
    assert {stats["name"] for stats in seen["all_statistics"]["model_stats"]} == {"scale", "mlp", "text", "half"}


def test_loading_needs_the_role_operator(server):
    with grpc.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        request = oip.RepositoryModelLoadRequest(model_name="scale")
        with pytest.raises(grpc.RpcError) as error:
            stub.RepositoryModelLoad(request, metadata=metadata(VIEWER), timeout=5)
        assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "mlp"])
def test_health_of_the_server_and_of_each_model(server, service):
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_metrics_carry_model_and_version(server, seen):
    lines = [line for line in server.metrics().splitlines() if line.startswith("casebook_inference_")]
    assert any(line.startswith("casebook_inference_duration_seconds_count") for line in lines)
    assert all('model="' in line and 'version="' in line for line in lines)
