"""Data sets of questions, read from the folder that holds one folder for each.

banking77: Inigo Casanueva et al. 2020. Efficient Intent Detection with Dual Sentence Encoders. CC BY 4.0.
clinc150: Stefan Larson et al. 2019. An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction. EMNLP.
CC BY 3.0.
bq-zh: Jing Chen et al. 2018. The BQ Corpus. EMNLP. For research; may not be passed on.
lcqmc-zh: Xin Liu et al. 2018. LCQMC: A Large-scale Chinese Question Matching Corpus. COLING. For research; the same.
"""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HELD_OUT_OF = 10
DEMO_QUESTIONS = Path(__file__).parents[2] / "support" / "demo" / "questions.jsonl"
"""What the demo's answers are calibrated with: English ones are from banking77's training part."""


class DataError(ValueError):
    """A data set that cannot be read. The message names the file and what was looked for."""


@dataclass(frozen=True, slots=True)
class Phrasings:
    """Texts and what each of them means."""

    texts: tuple[str, ...]
    intents: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, places: Sequence[int] | NDArray[np.int64]) -> "Phrasings":
        """Those at these places."""
        return Phrasings(tuple(self.texts[i] for i in places), tuple(self.intents[i] for i in places))

    def split(self, share: float, seed: int) -> tuple["Phrasings", "Phrasings"]:
        """The rest, and of each intent this share drawn at random, at least one."""
        random = np.random.default_rng(seed)
        held = np.zeros(len(self), bool)
        for intent in sorted(set(self.intents)):
            own = np.array([place for place, each in enumerate(self.intents) if each == intent])
            held[random.permutation(own)[: max(1, round(share * len(own)))]] = True
        return self.at(np.flatnonzero(~held)), self.at(np.flatnonzero(held))

    def split_by_text(self) -> tuple["Phrasings", "Phrasings"]:
        """The rest, and about one in `HELD_OUT_OF`, chosen by the text alone: the same for whoever asks.

        Encoders train on the rest; what support fits on top of them, it fits to the others.
        """
        held = np.array([int(hashlib.sha256(text.encode()).hexdigest(), 16) % HELD_OUT_OF == 0 for text in self.texts])
        return self.at(np.flatnonzero(~held)), self.at(np.flatnonzero(held))

    def without(self, texts: Collection[str]) -> "Phrasings":
        """Those whose text is none of these, white space aside."""
        unwanted = {" ".join(text.split()) for text in texts}
        return self.at([place for place, text in enumerate(self.texts) if " ".join(text.split()) not in unwanted])

    def few(self, count: int, seed: int) -> "Phrasings":
        """So many of each intent, drawn at random."""
        random = np.random.default_rng(seed)
        chosen: list[int] = []
        for intent in sorted(set(self.intents)):
            own = [place for place, each in enumerate(self.intents) if each == intent]
            chosen += random.permutation(own)[:count].tolist()
        return self.at(sorted(chosen))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of questions, and whether both ask the same."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    same: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.same)

    def at(self, places: Sequence[int] | NDArray[np.int64]) -> "Pairs":
        """Those at these places."""
        first, second = (tuple(column[i] for i in places) for column in (self.first, self.second))
        return Pairs(first, second, tuple(self.same[i] for i in places))

    def split(self, share: float, seed: int) -> tuple["Pairs", "Pairs"]:
        """By groups of questions that pairs connect, so that no question is on both sides: `share` of the groups first.

        The groups are shuffled with the seed.
        """
        groups = Groups()
        for one, other in zip(self.first, self.second, strict=True):
            groups.join(one, other)
        names = list(dict.fromkeys(groups.of(question) for question in self.first))
        order = np.random.default_rng(seed).permutation(len(names))
        chosen = {names[place] for place in order[: round(share * len(names))]}
        inside = np.array([groups.of(question) in chosen for question in self.first])
        return self.at(np.flatnonzero(inside)), self.at(np.flatnonzero(~inside))


class Groups:
    """Questions in groups, as they are joined: each group is named by one of its questions."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, question: str) -> str:
        """The name of the question's group."""
        parent = self._parent.setdefault(question, question)
        while parent != self._parent[parent]:
            self._parent[question] = parent = self._parent[parent]
        return parent

    def join(self, one: str, other: str) -> None:
        """Makes the groups of both one."""
        self._parent[self.of(one)] = self.of(other)


@dataclass(frozen=True, slots=True)
class Clinc150:
    """CLINC150, and its queries that are out of scope."""

    train: Phrasings
    validation: Phrasings
    test: Phrasings
    out_train: tuple[str, ...]
    out_validation: tuple[str, ...]
    out_test: tuple[str, ...]


def banking77(folder: Path) -> tuple[Phrasings, Phrasings]:
    """The training and the test phrasings."""
    train, test = (_csv(folder / "banking77" / f"{part}.csv") for part in ("train", "test"))
    return train, test


def demo_questions() -> tuple[str, ...]:
    """The demo's calibration questions, in both languages."""
    return tuple(json.loads(line)["question"] for line in DEMO_QUESTIONS.read_text(encoding="utf-8").splitlines())


def clinc150(folder: Path) -> Clinc150:
    """The set in full."""
    file = folder / "clinc150" / "data_full.json"
    try:
        content = json.loads(_read(file))
        scoped = {part: Phrasings(*map(tuple, zip(*content[part], strict=True))) for part in ("train", "val", "test")}
        out = [tuple(text for text, _ in content[part]) for part in ("oos_train", "oos_val", "oos_test")]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is not CLINC150's data_full.json: {error!r}") from error
    return Clinc150(scoped["train"], scoped["val"], scoped["test"], *out)


def pairs(file: Path) -> Pairs:
    """Lines of question, question, and 1 where both ask the same."""
    rows = [line.split("\t") for line in _read(file).decode().splitlines()]
    for number, row in enumerate(rows, 1):
        if len(row) != 3 or row[2] not in ("0", "1"):
            raise DataError(f"{file} line {number}: expected question, question and 0 or 1, by tabs; received {row}")
    return Pairs(tuple(row[0] for row in rows), tuple(row[1] for row in rows), tuple(row[2] == "1" for row in rows))


def bq(folder: Path, part: str) -> Pairs:
    """The BQ corpus, `part` valid or test."""
    return pairs(folder / "bq-zh" / f"{part}.tsv.gz")


def lcqmc_halves(folder: Path) -> tuple[Pairs, Pairs]:
    """LCQMC's validation file in halves of its question groups: one to train on, one to report on."""
    return pairs(folder / "lcqmc-zh" / "valid.tsv.gz").split(0.5, seed=0)


def digest(*texts: Sequence[str]) -> str:
    """The sha256 of texts in their order: names what a model was trained on."""
    return hashlib.sha256("\0".join("\n".join(part) for part in texts).encode()).hexdigest()


def _csv(file: Path) -> Phrasings:
    rows = list(csv.reader(io.StringIO(_read(file).decode())))
    if not rows or rows[0] != ["text", "category"] or any(len(row) != 2 for row in rows):
        raise DataError(f"{file}: expected the columns text,category")
    return Phrasings(tuple(row[0] for row in rows[1:]), tuple(row[1] for row in rows[1:]))


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read ({error}); the data's folder holds banking77, clinc150, ...") from error
