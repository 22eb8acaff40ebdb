"""Triton's side: an ONNX session behind its Python backend. Runs in a process that Triton starts for it."""

import json
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One run for all the calls that Triton has put together."""

    def initialize(self, args: dict[str, str]) -> None:
        """One thread a run, none that spins: as all servers here."""
        config = json.loads(args["model_config"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = config["parameters"]["file"]["string_value"]
        self._session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Joins the calls, runs, and hands out the rows as slices."""
        calls = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            for request in requests
        ]
        joined = calls[0] if len(calls) == 1 else [np.concatenate(arrays) for arrays in zip(*calls, strict=True)]
        results = self._session.run(self._outputs, dict(zip(self._inputs, joined, strict=True)))
        responses, start = [], 0
        for call in calls:
            end = start + len(call[0])
            tensors = [
                pb_utils.Tensor(name, array[start:end]) for name, array in zip(self._outputs, results, strict=True)
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
            start = end
        return responses
