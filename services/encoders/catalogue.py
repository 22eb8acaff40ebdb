"""The encoders that can be built, each from one wheel."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from encoders import e5, minilm
from encoders.bert import Bert
from encoders.wheels import EncoderError, Wheel

MAX_TOKENS = 128
"""Longer texts are cut. A question has 10 to 30 tokens, and attention costs the square of the length."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """One version of one encoder, and what it is made of."""

    model: str
    version: int
    about: str
    citation: str
    wheel: Wheel
    read: Callable[[Path], tuple[Bert, Tokenizer]]
    prefix: str = ""
    """Goes before every text."""
    optional: bool = False
    """Built only where it is asked for by name."""

    @property
    def name(self) -> str:
        """`<model>/<version>`."""
        return f"{self.model}/{self.version}"


ENCODERS = (
    Encoder(
        model="encoder_en",
        version=1,
        about="English: all-MiniLM-L6-v2",
        citation="Wenhui Wang et al. 2020. MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of "
        "Pre-Trained Transformers. NeurIPS. https://arxiv.org/abs/2002.10957",
        wheel=minilm.WHEEL,
        read=minilm.read,
    ),
    Encoder(
        model="encoder_zh",
        version=1,
        about="Chinese and English: multilingual-e5-small, its vocabulary cut to the pieces of these two",
        citation="Liang Wang et al. 2024. Multilingual E5 Text Embeddings: A Technical Report. "
        "https://arxiv.org/abs/2402.05672",
        wheel=e5.WHEEL,
        read=e5.read,
        prefix=e5.PREFIX,
    ),
)


def chosen(models: str = "") -> list[Encoder]:
    """The encoders of the models named in `models`, by commas; by default all that are not optional.

    Raises EncoderError for a name that is not known.
    """
    names = {name.strip() for name in models.split(",") if name.strip()}
    known = {encoder.model for encoder in ENCODERS}
    if unknown := names - known:
        raise EncoderError(f"there is no encoder {min(unknown)!r}; there are {', '.join(sorted(known))}")
    return [each for each in ENCODERS if each.model in names or (not names and not each.optional)]
