"""Writes MLServer's settings files for the models in BENCH_REPOSITORY into the folder that is named."""

import json
import os
import sys
from pathlib import Path

BATCH_ROWS = {"mlp": 200, "minilm": 8}

for model in sorted(Path(os.environ["BENCH_REPOSITORY"]).iterdir()):
    settings = {
        "name": model.name,
        "implementation": "mlserver_runtime.OnnxRuntime",
        "parameters": {"uri": str(model / "1" / "model.onnx")},
    }
    if os.environ.get("BENCH_BATCHING"):
        settings |= {"max_batch_size": BATCH_ROWS[model.name], "max_batch_time": 0.001}
    folder = Path(sys.argv[1]) / model.name
    folder.mkdir()
    (folder / "model-settings.json").write_text(json.dumps(settings))
(Path(sys.argv[1]) / "settings.json").write_text("{}")
