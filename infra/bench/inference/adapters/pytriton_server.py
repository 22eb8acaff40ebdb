"""Triton's side: an ONNX session behind `pytriton`, batched by Triton itself. Runs in pytriton's own environment."""

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

BATCH_ROWS = {"mlp": 200, "minilm": 8}
DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def tensor(value):
    """pytriton's description of an input or output, without the batch dimension."""
    return Tensor(
        name=value.name,
        dtype=DTYPES[value.type],
        shape=tuple(size if isinstance(size, int) else -1 for size in value.shape[1:]),
    )


def bind(triton, model):
    """Serves one model: one thread a run, none that spins, as all servers here; no wait for a fuller batch."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(model / "1" / "model.onnx"), options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]

    @batch
    def infer(**inputs):
        return session.run(outputs, inputs)

    triton.bind(
        model_name=model.name,
        infer_func=infer,
        inputs=[tensor(value) for value in session.get_inputs()],
        outputs=[tensor(value) for value in session.get_outputs()],
        config=ModelConfig(
            max_batch_size=BATCH_ROWS[model.name], batcher=DynamicBatcher(max_queue_delay_microseconds=0)
        ),
        strict=False,
    )


if __name__ == "__main__":
    grpc_port, http_port, metrics_port = map(int, os.environ["BENCH_PORTS"].split(","))
    config = TritonConfig(
        grpc_address="127.0.0.1",
        http_address="127.0.0.1",
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
    )
    with Triton(config=config) as triton:
        for folder in sorted(Path(os.environ["BENCH_REPOSITORY"]).iterdir()):
            bind(triton, folder)
        triton.serve()
