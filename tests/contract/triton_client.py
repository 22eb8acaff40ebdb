"""Drives a server with NVIDIA's `tritonclient`, unchanged, and prints what it saw as JSON.

It registers the same protobuf package as our own contract, so it runs in a process of its own:
`python triton_client.py ADDRESS TOKEN`.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main(address, token):
    headers = {"authorization": token}  # gRPC takes lower-case names only
    client = triton.InferenceServerClient(address)
    seen = {
        "live": client.is_server_live(headers=headers),
        "ready": client.is_server_ready(headers=headers),
        "model_ready": client.is_model_ready("scale", headers=headers),
        "version_ready": client.is_model_ready("scale", "2", headers=headers),
        "server": client.get_server_metadata(headers=headers, as_json=True),
        "metadata": client.get_model_metadata("mlp", headers=headers, as_json=True),
        "config": client.get_model_config("mlp", headers=headers, as_json=True)["config"],
        "raw": raw(client, headers),
        "typed": typed(client, headers),
        "strings": strings(client, headers),
        "half": half(client, headers),
        "chosen_outputs": chosen_outputs(client, headers),
        "errors": errors(client, headers),
    }
    seen["repository"] = repository(client, headers)
    seen["statistics"] = client.get_inference_statistics("scale", "1", headers=headers, as_json=True)
    seen["all_statistics"] = client.get_inference_statistics(headers=headers, as_json=True)
    print(json.dumps(seen))  # noqa: T201 - its parent reads it


def scale_input(rows=2):
    tensor = triton.InferInput("x", [rows, 3], "FP32")
    tensor.set_data_from_numpy(np.ones((rows, 3), np.float32))
    return tensor


def answer(result):
    response = result.get_response()
    return {
        "version": response.model_version,
        "id": response.id,
        "key": response.parameters["request_key"].string_param,
        "values": result.as_numpy("y").tolist(),
        "raw": bool(response.raw_output_contents),
    }


def raw(client, headers):
    result = client.infer(
        "scale", [scale_input()], request_id="call-7", parameters={"request_key": "u1"}, headers=headers
    )
    return answer(result)


def typed(client, headers):
    """Typed contents, which the client itself never sends, and so does not read either."""
    tensor = triton.InferInput("x", [1, 3], "FP32")
    tensor._input.contents.fp32_contents.extend([1.0, 2.0, 3.0])
    response = client.infer("scale", [tensor], headers=headers).get_response()
    return {"values": list(response.outputs[0].contents.fp32_contents), "raw": bool(response.raw_output_contents)}


def strings(client, headers):
    tensor = triton.InferInput("x", [1, 3], "BYTES")
    tensor.set_data_from_numpy(np.array([["a", "é", ""]], object))
    values = client.infer("text", [tensor], headers=headers).as_numpy("y")
    return [value.decode() for value in values.ravel()]


def half(client, headers):
    tensor = triton.InferInput("x", [1, 3], "FP16")
    tensor.set_data_from_numpy(np.array([[0.5, 1, 2]], np.float16))
    return client.infer("half", [tensor], headers=headers).as_numpy("y").tolist()


def chosen_outputs(client, headers):
    outputs = [triton.InferRequestedOutput("y")]
    result = client.infer("scale", [scale_input()], outputs=outputs, headers=headers)
    return [output.name for output in result.get_response().outputs]


def errors(client, headers):
    wrong_shape = triton.InferInput("x", [2, 4], "FP32")
    wrong_shape.set_data_from_numpy(np.ones((2, 4), np.float32))
    wrong_type = triton.InferInput("x", [2, 3], "FP64")
    wrong_type.set_data_from_numpy(np.ones((2, 3), np.float64))
    short = scale_input()
    short._raw_content = short._raw_content[:-4]
    extra = triton.InferInput("z", [1], "FP32")
    extra.set_data_from_numpy(np.ones(1, np.float32))
    return {
        "no_model": status(lambda: client.infer("nothing", [scale_input()], headers=headers)),
        "no_version": status(lambda: client.infer("scale", [scale_input()], "9", headers=headers)),
        "shape": status(lambda: client.infer("scale", [wrong_shape], headers=headers)),
        "datatype": status(lambda: client.infer("scale", [wrong_type], headers=headers)),
        "size": status(lambda: client.infer("scale", [short], headers=headers)),
        "missing": status(lambda: client.infer("scale", [], headers=headers)),
        "extra": status(lambda: client.infer("scale", [scale_input(), extra], headers=headers)),
        "no_token": status(lambda: client.infer("scale", [scale_input()])),
        "too_large": status(lambda: client.infer("scale", [scale_input(1_000_000)], headers=headers)),
    }


def status(call):
    try:
        call()
    except InferenceServerException as error:
        return [error.status().removeprefix("StatusCode."), error.message()]
    return ["OK", ""]


def repository(client, headers):
    def index():
        listed = client.get_model_repository_index(headers=headers, as_json=True)["models"]
        return {f"{model['name']}/{model['version']}": model["state"] for model in listed}

    seen = {"before": index()}
    client.unload_model("scale", headers=headers)
    seen["unloaded"] = index()
    seen["ready_when_unloaded"] = client.is_model_ready("scale", headers=headers)
    seen["infer_when_unloaded"] = status(lambda: client.infer("scale", [scale_input()], headers=headers))
    client.load_model("scale", headers=headers)
    seen["loaded"] = index()
    seen["newest_by_name"] = answer(client.infer("scale", [scale_input()], "2", headers=headers))["values"]
    seen["stable_after"] = answer(client.infer("scale", [scale_input()], headers=headers))["version"]
    seen["load_nothing"] = status(lambda: client.load_model("nothing", headers=headers))
    seen["load_other_files"] = status(lambda: client.load_model("scale", config="{}", headers=headers))
    return seen


if __name__ == "__main__":
    main(*sys.argv[1:])
