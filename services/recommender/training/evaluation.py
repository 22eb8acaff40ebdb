"""Evaluation: the exported models on the test part, beside the floors, all in one run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recommender import features
from recommender.features import DISLIKED, LIKED, TOWER_SIMILARITY, Float32Array, Int64Array
from recommender.training import measures, ranking_examples
from recommender.training.examples import Part
from recommender.training.material import Material
from recommender.training.ranking_examples import RECALLED, Vectors
from recommender.training.served import ITEM_TOWER, RANKER, USER_TOWER, ServedModel, versions

NEGATIVES = 20
"""Uniform unseen items beside each held-out event, for AUC and GAUC."""
SEED = 7


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table: a method's measures on one set of `n` targets."""

    stage: str
    method: str
    targets: str
    n: int
    values: dict[str, float]


def evaluate(repository: Path, material: Material) -> list[Measured]:
    """Every version in the repository, beside the floors; the rankers order what the newest towers recall."""
    return recall_measures_of_all(repository, material) + ranking_measures(repository, material)


def recall_measures_of_all(repository: Path, material: Material) -> list[Measured]:
    """Every version of the towers, beside popularity and item-kNN."""
    results = recall_floors(material)
    for version in versions(repository, USER_TOWER):
        scores = tower_scores(repository, version, material, Part.TEST)
        results += recall_measures(f"DSSM {version}", scores, material)
    return results


def vectors(repository: Path, version: int, material: Material, part: Part) -> Vectors:
    """What a version of the towers makes of a part."""
    users = ServedModel(repository, USER_TOWER, version).in_batches(material.parts[part].inputs)
    items = features.dssm_item_inputs(material.catalogue.encoded)
    return users, ServedModel(repository, ITEM_TOWER, version).in_batches(items)


def tower_scores(repository: Path, version: int, material: Material, part: Part) -> Float32Array:
    """Cosines of a part's moments with every item: float32 [E, items]."""
    users, items = vectors(repository, version, material, part)
    scores: Float32Array = users @ items.T
    return scores


def recall_measures(method: str, scores: Float32Array, material: Material) -> list[Measured]:
    """Recall at 50 and 200 over the whole catalogue without what the user had seen; of all and of liked targets."""
    test = material.parts[Part.TEST]
    ranks = measures.ranks_of_targets(scores, test)
    results = []
    for targets, chosen in (("all", np.ones(len(ranks), bool)), ("liked", test.ratings >= LIKED)):
        values = {f"recall@{at}": measures.hit_rate(ranks[chosen], at) for at in (50, 200)}
        results.append(Measured("recall", method, targets, int(chosen.sum()), values))
    return results


def recall_floors(material: Material) -> list[Measured]:
    """What a recommender without learning reaches: the most popular, and neighbours of the live sequence's items."""
    test = material.parts[Part.TEST]
    popular = np.broadcast_to(material.popularity.astype(np.float32), (len(test), len(material.popularity)))
    neighbours = measures.item_neighbours([sorted(own) for own in material.own], len(material.catalogue))
    live = [test.seen_before(row)[-features.HISTORY_LENGTH :] for row in range(len(test))]
    near = np.stack([neighbours[places].sum(axis=0) for places in live])
    return recall_measures("popularity", popular, material) + recall_measures("item-kNN", near, material)


Order = Callable[[int, Int64Array, dict[str, np.ndarray]], Float32Array]
"""Scores float32 [N] of a moment's candidates: takes the moment's number, the candidates' places and DIN's inputs."""


def ranking_measures(repository: Path, material: Material) -> list[Measured]:
    """Popularity, the towers' cosine and every ranker over the same recalled candidates."""
    test = material.parts[Part.TEST]
    tower = versions(repository, USER_TOWER)[-1]
    test_vectors = vectors(repository, tower, material, Part.TEST)
    orders: dict[str, Order] = {
        "popularity": lambda _, places, __: material.popularity[places].astype(np.float32),
        # The towers' own order is what a ranker has to beat.
        f"DSSM {tower}": lambda _, __, inputs: inputs["candidate_statistics"][:, TOWER_SIMILARITY],
    }
    for version in versions(repository, RANKER):
        orders[f"DIN {version}"] = _ranker_order(ServedModel(repository, RANKER, version))
    recalled = ranking_examples.recall(test_vectors, test, RECALLED)
    # By the end of the replay `seen` holds all of a user's items, the held-out ones too.
    everything = [set(places) for places in test.seen]
    negatives = ranking_examples.uniform_negatives(test, everything, len(material.catalogue), NEGATIVES, SEED)
    sampled = np.column_stack([test.targets, negatives])
    ordering = _recalled_ranks(material, recalled, test_vectors, orders)
    scored = _sampled_scores(material, sampled, test_vectors, orders)
    return [line for name in orders for line in _ranking_lines(name, ordering[name], scored[name], test.ratings)]


def _ranker_order(ranker: ServedModel) -> Order:
    return lambda _, __, inputs: ranker(inputs)[:, 0]


def _recalled_ranks(
    material: Material, recalled: Int64Array, of_test: Vectors, orders: dict[str, Order]
) -> dict[str, Int64Array]:
    """The target's rank among the recalled candidates by each order: int64 [E]; 0 where it was not recalled."""
    test = material.parts[Part.TEST]
    ranks = {name: np.zeros(len(test), np.int64) for name in orders}
    moments = ranking_examples.calls(material.dataset, material.catalogue, Part.TEST, recalled, of_test)
    for number, inputs in moments:
        place = np.flatnonzero(recalled[number] == test.targets[number])
        if not len(place):
            continue
        for name, order in orders.items():
            ranks[name][number] = measures.rank_of_target(order(number, recalled[number], inputs), int(place[0]))
    return ranks


def _sampled_scores(
    material: Material, sampled: Int64Array, of_test: Vectors, orders: dict[str, Order]
) -> dict[str, Float32Array]:
    """Scores of each held-out event and its uniform negatives by each order: float32 [E, 1 + negatives]."""
    scores = {name: np.zeros(sampled.shape, np.float32) for name in orders}
    moments = ranking_examples.calls(material.dataset, material.catalogue, Part.TEST, sampled, of_test)
    for number, inputs in moments:
        for name, order in orders.items():
            scores[name][number] = order(number, sampled[number], inputs)
    return scores


def _ranking_lines(name: str, ranks: Int64Array, scores: Float32Array, ratings: Float32Array) -> list[Measured]:
    liked, disliked = ratings >= LIKED, ratings <= DISLIKED
    telling = liked | disliked
    labels = np.zeros(scores.shape, np.int64)
    labels[:, 0] = liked
    order = {"HR@10": measures.hit_rate(ranks[liked], 10), "NDCG@10": measures.ndcg(ranks[liked], 10)}
    quality = {
        "AUC": measures.auc(scores[telling].ravel(), labels[telling].ravel()),
        "GAUC": measures.grouped_auc(list(zip(scores[telling], labels[telling], strict=True))),
        "liked against disliked AUC": measures.auc(scores[telling, 0], labels[telling, 0]),
    }
    everything = {"HR@10": measures.hit_rate(ranks, 10), "NDCG@10": measures.ndcg(ranks, 10)}
    return [
        Measured("ranking", name, "liked", int(liked.sum()), order | quality),
        Measured("ranking", name, "all", len(ranks), everything),
    ]


def table(results: list[Measured]) -> str:
    """The measures as text, a row a method; a share comes with its standard error, since the test part is small."""
    lines = []
    for stage in ("recall", "ranking"):
        for targets in ("liked", "all"):
            chosen = [line for line in results if (line.stage, line.targets) == (stage, targets)]
            if not chosen:
                continue
            columns = list(chosen[0].values)
            lines.append(f"{stage}, {targets} targets (n = {chosen[0].n})")
            lines.append("  " + "method".ljust(14) + "".join(column.rjust(len(column) + 16) for column in columns))
            for line in chosen:
                cells = (_cell(column, line).rjust(len(column) + 16) for column in columns)
                lines.append("  " + line.method.ljust(14) + "".join(cells))
            lines.append("")
    return "\n".join(lines)


def _cell(column: str, line: Measured) -> str:
    value = line.values[column]
    if "@" not in column or "NDCG" in column:
        return f"{value:.4f}"
    return f"{value:.4f} ± {(value * (1 - value) / line.n) ** 0.5:.4f}"
