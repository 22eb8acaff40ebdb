"""Measures of built encoders, as they are served: through ONNX Runtime, in 8 bits, on the test parts of public sets."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from encoders import build
from encoders.bench import run_of, session
from encoders.bert import Float32Array
from encoders.build import MODEL_FILE
from encoders.text import Tokeniser
from encoders.training import data, measures
from encoders.training.data import Clinc150, Pairs, Phrasings
from encoders.training.measures import Int64Array

SHOTS = 10
SHOT_SEEDS = (0, 1, 2)
REGULARISATION = 10.0
"""C of the logistic regression, as in the floors. Not tuned."""
FAQ_QUERIES = 6_000
FEWEST_IN_GROUP = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table. `floor`: what is to be beaten, where that is known."""

    data: str
    measure: str
    n: int
    value: float
    floor: float | None = None


Encode = Callable[[Sequence[str]], Float32Array]


@dataclass(slots=True, eq=False)
class Served:
    """One version of an encoder, from a model repository; vectors are kept in `cache` by model and texts."""

    folder: Path
    cache: Path
    _digest: str = field(init=False)

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256((self.folder / MODEL_FILE).read_bytes()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """`<model>/<version>`."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def trained_on(self) -> frozenset[str]:
        """The data sets that its delta learnt from; none for what a wheel holds."""
        return build.trained_on(self.folder)

    def __call__(self, texts: Sequence[str]) -> Float32Array:
        """float32 [texts, hidden], of length 1; at least one text."""
        file = self.cache / f"{self._digest}-{data.digest(texts)[:16]}.npy"
        if file.exists():
            stored: Float32Array = np.load(file)
            return stored
        tokeniser, run = Tokeniser(self.folder), run_of(session(str(self.folder / MODEL_FILE)))
        batches = [
            (places, run(tokens.input_ids, tokens.attention_mask)) for places, tokens in tokeniser.batches(texts)
        ]
        vectors = np.concatenate([rows for _, rows in batches])[np.argsort(np.concatenate([at for at, _ in batches]))]
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors)
        return vectors


def english(encode: Served, folder: Path) -> list[Measured]:
    """banking77 and CLINC150; ten phrasings of an intent only where the version has not learnt from all of them."""
    train, test = data.banking77(folder)
    few = () if "banking77" in encode.trained_on else few_shot(encode, train, test)
    return [*banking77(encode, train, test), *few, *clinc150(encode, data.clinc150(folder))]


def banking77(encode: Encode, train: Phrasings, test: Phrasings) -> list[Measured]:
    """Every training phrasing is in the index; a query should find one of its intent."""
    groups, targets = numbered(train.intents, test.intents)
    index, queries = encode(train.texts), encode(test.texts)
    nearest = measures.group_scores(queries, index, groups)
    five = measures.group_scores(queries, index, groups, nearest=5)
    return [
        Measured("banking77", "nearest phrasing R@1", len(test), measures.recall_at(nearest, targets, 1), 0.9205),
        Measured("banking77", "nearest phrasing R@5", len(test), measures.recall_at(nearest, targets, 5), 0.9906),
        Measured("banking77", "mean of the 5 nearest R@1", len(test), measures.recall_at(five, targets, 1)),
        Measured("banking77", "mean of the 5 nearest R@5", len(test), measures.recall_at(five, targets, 5)),
    ]


def few_shot(
    encode: Encode, train: Phrasings, test: Phrasings, seeds: Sequence[int] = SHOT_SEEDS, floor: float | None = 0.854
) -> list[Measured]:
    """Ten phrasings of each intent are known; mean over the seeds that draw them."""
    queries, drawn = encode(test.texts), [train.few(SHOTS, seed) for seed in seeds]
    nearest, linear = [], []
    for known in drawn:
        groups, targets = numbered(known.intents, test.intents)
        index = encode(known.texts)
        nearest.append(measures.recall_at(measures.group_scores(queries, index, groups), targets, 1))
        linear.append(float((_probabilities(index, groups, queries).argmax(axis=1) == targets).mean()))
    name = f"banking77, {SHOTS} an intent"
    return [
        Measured(name, "nearest phrasing accuracy", len(test), float(np.mean(nearest)), floor),
        Measured(name, "logistic regression accuracy", len(test), float(np.mean(linear)), floor),
    ]


def clinc150(encode: Encode, clinc: Clinc150) -> list[Measured]:
    """In scope the right intent, out of scope none: one threshold, chosen on the validation part."""
    groups, wanted = numbered(clinc.train.intents, clinc.validation.intents)
    _, targets = numbered(clinc.train.intents, clinc.test.intents)
    texts = clinc.validation.texts, clinc.out_validation, clinc.test.texts, clinc.out_test
    index, parts = encode(clinc.train.texts), [encode(part) for part in texts]
    results = []
    for method, scores in (
        ("nearest phrasing", [measures.group_scores(part, index, groups) for part in parts]),
        ("logistic regression", np.split(_probabilities(index, groups, np.concatenate(parts)), _ends(parts))),
    ):
        validation, out_validation, test, out_test = scores
        threshold = measures.best_threshold(
            validation.max(axis=1), validation.argmax(axis=1) == wanted, out_validation.max(axis=1)
        )
        right = (test.argmax(axis=1) == targets) & (test.max(axis=1) >= threshold)
        refused = out_test.max(axis=1) < threshold
        area = measures.auroc(test.max(axis=1), out_test.max(axis=1))
        results += [
            Measured("CLINC150", f"{method}: AUROC", len(test) + len(out_test), area, 0.962),
            Measured("CLINC150", f"{method}: in-scope accuracy", len(test), float(right.mean()), 0.942),
            Measured("CLINC150", f"{method}: out-of-scope recall", len(out_test), float(refused.mean()), 0.712),
        ]
    return results


def chinese(encode: Encode, folder: Path) -> list[Measured]:
    """The BQ corpus' test file and the second half of LCQMC's validation file: pairs, and as a base of questions."""
    test, (_, second) = data.bq(folder, "test"), data.lcqmc_halves(folder)
    results = [*pair_measures(encode, "BQ", test, 0.450), *pair_measures(encode, "LCQMC, half", second, 0.723)]
    trained = data.bq(folder, "valid")
    both = Pairs(trained.first + test.first, trained.second + test.second, trained.same + test.same)
    unseen = set(test.first + test.second) - set(trained.first + trained.second)
    results += faq(encode, "BQ as FAQ", both, unseen)
    return [*results, *faq(encode, "LCQMC, half, as FAQ", second, set(second.first + second.second))]


def pair_measures(encode: Encode, name: str, pairs: Pairs, floor: float) -> list[Measured]:
    """Spearman's correlation of cosines with the labels; centred by the mean of all questions of the set as well."""
    one, other = encode(pairs.first), encode(pairs.second)
    values = measures.pair_correlations(one, other, pairs.same)
    return [Measured(name, measure, len(pairs), value, floor) for measure, value in values.items()]


def faq(encode: Encode, name: str, pairs: Pairs, askable: set[str]) -> list[Measured]:
    """Questions that positive pairs connect are one article; each of `askable` looks for another of its group.

    Groups are incomplete: two may ask the same.
    """
    questions, numbers = faq_base(pairs)
    places = np.array([place for place, question in enumerate(questions) if question in askable][:FAQ_QUERIES])
    vectors = encode(questions)
    vectors = measures.unit(vectors - vectors.mean(axis=0))
    scores = np.concatenate([_without_itself(vectors, numbers, part) for part in np.array_split(places, 20)])
    return [
        Measured(name, f"R@{count}", len(places), measures.recall_at(scores, numbers[places], count), floor)
        for count, floor in ((1, None), (5, 0.371 if name.startswith("BQ") else None))
    ]


def faq_base(pairs: Pairs) -> tuple[list[str], Int64Array]:
    """The questions of groups of two and more, in the order in which they come, and their groups' numbers."""
    groups = data.Groups()
    for one, other, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
        if same and one != other:
            groups.join(one, other)
    known = list(dict.fromkeys(question for pair in zip(pairs.first, pairs.second, strict=True) for question in pair))
    names = [groups.of(question) for question in known]
    sizes = Counter(names)
    kept = [(question, name) for question, name in zip(known, names, strict=True) if sizes[name] >= FEWEST_IN_GROUP]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for _, name in kept))}
    return [question for question, _ in kept], np.array([numbers[name] for _, name in kept])


def numbered(known: Sequence[str], asked: Sequence[str]) -> tuple[Int64Array, Int64Array]:
    """Intents as numbers from 0, of what is known and of what is asked."""
    numbers = {intent: number for number, intent in enumerate(sorted(set(known)))}
    return np.array([numbers[each] for each in known]), np.array([numbers[each] for each in asked])


def table(results: Mapping[str, Sequence[Measured]]) -> str:
    """Lines of measures, a column for each version; "–" where one was not measured."""
    rows = [["data", "measure", "n", "floor", *results]]
    found = [{(line.data, line.measure): line for line in lines} for lines in results.values()]
    for key, line in {key: line for lines in found for key, line in lines.items()}.items():
        floor = "" if line.floor is None else f"{line.floor:.4f}"
        values = (f"{lines[key].value:.4f}" if key in lines else "–" for lines in found)
        rows.append([line.data, line.measure, f"{line.n:,}", floor, *values])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of as many cells each, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _without_itself(vectors: Float32Array, groups: Int64Array, places: Int64Array) -> Float32Array:
    """Scores of groups for questions of the index, each without its own entry: float32 [places, groups]."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    cosines = vectors[places] @ vectors.T
    cosines[np.arange(len(places)), places] = -np.inf
    scores: Float32Array = np.maximum.reduceat(cosines[:, order], starts, axis=1)
    return scores


def _probabilities(known: Float32Array, groups: Int64Array, asked: Float32Array) -> Float32Array:
    """float32 [asked, groups]: a logistic regression on the vectors."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=REGULARISATION, tol=1e-4, max_iter=1_000).fit(known, groups)
    probabilities: Float32Array = fitted.predict_proba(asked).astype(np.float32)
    return probabilities


def _ends(parts: Sequence[Float32Array]) -> Int64Array:
    return np.cumsum([len(part) for part in parts])[:-1]
