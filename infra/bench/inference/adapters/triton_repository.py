"""Writes a repository for Triton's Python backend: the models of BENCH_REPOSITORY behind triton_model.py."""

import os
import shutil
import sys
from pathlib import Path

import onnxruntime as ort

BATCH_ROWS = {"mlp": 200, "minilm": 8}
DATATYPES = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}


def described(kind: str, values: list[ort.NodeArg]) -> str:
    """The inputs or outputs as config.pbtxt has them, without the batch dimension."""
    lines = []
    for value in values:
        dims = [size if isinstance(size, int) else -1 for size in value.shape[1:]]
        lines.append(f'{kind} {{ name: "{value.name}" data_type: {DATATYPES[value.type]} dims: {dims} }}')
    return "\n".join(lines)


def main(target: Path) -> None:
    """One folder a model; Triton batches whatever waits, without a delay."""
    for source in sorted(Path(os.environ["BENCH_REPOSITORY"]).iterdir()):
        file = source / "1" / "model.onnx"
        session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        folder = target / source.name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("triton_model.py"), folder / "model.py")
        (target / source.name / "config.pbtxt").write_text(
            f"""
            name: "{source.name}"
            backend: "python"
            max_batch_size: {BATCH_ROWS[source.name]}
            {described("input", session.get_inputs())}
            {described("output", session.get_outputs())}
            dynamic_batching {{ max_queue_delay_microseconds: 0 }}
            instance_group {{ count: 1 kind: KIND_CPU }}
            parameters {{ key: "file" value {{ string_value: "{file}" }} }}
            """
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
