"""Fine-tuning, on encoders and data sets that are made up: what is learnt, what stays, what is measured."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install casebook[training]")

from encoders import graph  # noqa: E402
from encoders.training import data, evaluation, measures  # noqa: E402
from encoders.training.chinese import ChineseRecipe, PairCourse  # noqa: E402
from encoders.training.data import DataError, Pairs, Phrasings  # noqa: E402
from encoders.training.english import EnglishRecipe, IntentCourse, IntentSet  # noqa: E402
from encoders.training.losses import cosent_loss, ranking_loss  # noqa: E402
from encoders.training.material import Material  # noqa: E402
from encoders.training.network import Adapted, LowRank, ragged  # noqa: E402
from tests.fixtures.encoders import tiny_bert, tiny_tokenizer  # noqa: E402
from training.fitting import CheckpointError, Schedule, fit  # noqa: E402

pytestmark = pytest.mark.training

QUICK = Schedule(epochs=3, batch_size=4, learning_rate=1e-2, warmup_steps=2, patience=3)
HOW = LowRank(rank=4, alpha=8, dropout=0.0, layers=1)


def material(how: LowRank = HOW) -> Material:
    torch.manual_seed(0)
    return Material(Adapted(tiny_bert(), how), tiny_tokenizer(), prefix="")


def phrasings(count: int, seed: int) -> Phrasings:
    """Intents that one word tells, the one before the last, among words at random."""
    random = np.random.default_rng(seed)
    words, texts, intents = "abcdefghij", [], []
    for number in range(count):
        told = words[number % 5]
        texts.append(" ".join([*random.choice(list("fghij"), 3), told, random.choice(list("fghij"))]))
        intents.append(f"intent {told}")
    return Phrasings(tuple(texts), tuple(intents))


def english_course(epochs: int = 3) -> tuple[IntentCourse, EnglishRecipe, Material]:
    recipe = EnglishRecipe(HOW, phrasings=3, neighbours=1, hard=3, schedule=replace(QUICK, epochs=epochs))
    made = material()
    sets = [IntentSet(phrasings(60, 1), phrasings(20, 2), ("f g h i j",))]
    return IntentCourse(made, sets, recipe), recipe, made


def test_the_network_computes_what_the_onnx_graph_does() -> None:
    texts = [[2, 3, 4], [5], [6, 7, 8, 9, 10]]
    network = material().network.eval()
    vectors = network.encode(network.lower(ragged(texts))).numpy()
    model = graph.sentence_encoder(tiny_bert(), "tiny", "fp32").SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for vector, ids in zip(vectors, texts, strict=True):
        row = np.array([ids])
        [expected] = session.run(None, {"input_ids": row, "attention_mask": np.ones_like(row)})[0]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_a_trained_delta_merged_into_the_weights_gives_the_trained_vectors() -> None:
    course, recipe, made = english_course()
    fit(course.lesson, course.examples, course.validate, recipe.schedule)
    texts = made.network.lower(ragged([[2, 3, 4], [5, 6]]))
    merged = Adapted(made.network.delta().merged(tiny_bert()), replace(HOW, layers=0)).eval()
    expected = merged.encode(merged.lower(ragged([[2, 3, 4], [5, 6]])))
    torch.testing.assert_close(made.network.encode(texts), expected, atol=1e-5, rtol=0)


def test_intents_are_told_apart_better_than_before() -> None:
    course, recipe, _ = english_course(epochs=6)
    with torch.no_grad():
        course.lesson.eval()
        before = course.validate()
    fitted = fit(course.lesson, course.examples, course.validate, recipe.schedule)
    assert fitted.best_score > before + 0.05


def test_a_checkpoint_holds_the_low_rank_maps_alone_and_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole, recipe, _ = english_course()
    fit(whole.lesson, whole.examples, whole.validate, recipe.schedule)

    class Killed(Exception):
        pass

    def kill(metric: str, value: float, epoch: int) -> None:
        if epoch == 2:
            raise Killed

    stopped, _, _ = english_course()
    file = tmp_path / "run.pt"
    with pytest.raises(Killed):
        fit(stopped.lesson, stopped.examples, stopped.validate, recipe.schedule, checkpoint=file, report=kill)
    resumed, _, _ = english_course()
    fit(resumed.lesson, resumed.examples, resumed.validate, recipe.schedule, checkpoint=file)

    assert file.stat().st_size < 100_000
    assert all(".maps." in name for name in resumed.lesson.state_dict())
    for name, weights in whole.lesson.state_dict().items():
        torch.testing.assert_close(resumed.lesson.state_dict()[name], weights, rtol=0, atol=0)
    with pytest.raises(CheckpointError):
        fit(resumed.lesson, resumed.examples, resumed.validate, recipe.schedule, checkpoint=file, run="another")


def test_pairs_that_ask_the_same_come_to_correlate() -> None:
    texts = phrasings(200, 3)
    places = np.random.default_rng(4).integers(0, len(texts), (2, 160))
    first, second = (tuple(texts.texts[place] for place in side) for side in places)
    same = tuple(texts.intents[one] == texts.intents[other] for one, other in places.T)
    pairs = Pairs(first, second, same)
    recipe = ChineseRecipe(HOW, ranking=0.5, schedule=replace(QUICK, epochs=6, batch_size=32))
    course = PairCourse(material(), [(pairs.at(range(120)), pairs.at(range(120, 160)))], recipe)
    with torch.no_grad():
        course.lesson.eval()
        before = course.validate()
    assert fit(course.lesson, course.examples, course.validate, recipe.schedule).best_score > before + 0.05


def test_ranking_knows_no_negatives_among_the_same_and_the_unknown() -> None:
    vectors = torch.eye(4)
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    nobody = torch.zeros(4, 4, dtype=torch.bool)
    assert ranking_loss(vectors, same, nobody, 0.1) == 0
    assert ranking_loss(vectors, same, ~same, 0.1) == pytest.approx(np.log(3), abs=1e-5)


def test_cosent_is_low_where_the_order_is_right() -> None:
    same = torch.tensor([True, False])
    assert cosent_loss(torch.tensor([0.9, 0.1]), same, 0.05) < 1e-3
    assert cosent_loss(torch.tensor([0.1, 0.9]), same, 0.05) > 10


def test_a_split_by_groups_leaves_no_question_on_both_sides() -> None:
    random = np.random.default_rng(0)
    first, second = (tuple(f"q{number}" for number in random.integers(0, 300, 150)) for _ in range(2))
    pairs = Pairs(first, second, (True,) * 150)
    one, other = pairs.split(0.5, seed=0)
    assert not {*one.first, *one.second} & {*other.first, *other.second}
    assert len(one) + len(other) == 150
    assert (one, other) == pairs.split(0.5, seed=0)
    assert min(len(one), len(other)) > 20


def test_few_and_split_draw_of_each_intent() -> None:
    texts = phrasings(60, 1)
    assert sorted(texts.few(2, seed=0).intents) == sorted([f"intent {word}" for word in "abcde"] * 2)
    rest, held = texts.split(0.25, seed=0)
    assert (len(rest), len(held)) == (45, 15)
    assert set(held.intents) == set(rest.intents)


def test_recall_counts_a_tie_for_its_share() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.5]], np.float32)
    targets = np.array([0, 2])
    assert measures.recall_at(scores, targets, 1) == pytest.approx((1 + 1 / 3) / 2)
    assert measures.recall_at(scores, targets, 3) == 1


def test_more_layers_than_there_are_cannot_be_adapted() -> None:
    with pytest.raises(ValueError, match="layers: 3 are to be adapted, the encoder has 2"):
        Adapted(tiny_bert(layers=2), replace(HOW, layers=3))


def test_the_rank_measures_agree_with_counting_pairs() -> None:
    inside, outside = np.array([0.9, 0.5, 0.5], np.float32), np.array([0.5, 0.1], np.float32)
    assert measures.auroc(inside, outside) == pytest.approx((2 + 1.5 + 1.5) / 6)
    assert measures.spearman(np.array([1, 2, 3], np.float32), [False, False, True]) == pytest.approx(0.866, abs=1e-3)


def test_the_threshold_is_where_most_validation_queries_are_answered_right() -> None:
    scores, right = np.array([0.9, 0.8, 0.3, 0.7]), np.array([True, True, True, False])
    assert measures.best_threshold(scores, right, np.array([0.5])) == 0.8
    assert measures.best_threshold(scores, right, np.array([0.1])) == 0.3


def test_a_question_of_a_base_finds_its_group_by_another_one() -> None:
    pairs = Pairs(("a", "c", "a"), ("b", "d", "e"), (True, True, False))
    vectors = {"a": [1, 0.1], "b": [1, 0], "c": [0, 1], "d": [0.1, 1]}
    found = evaluation.faq(
        lambda texts: np.array([vectors[text] for text in texts], np.float32), "made up", pairs, {"a", "c", "d"}
    )
    assert [(line.n, line.value) for line in found] == [(3, 1.0), (3, 1.0)]


def test_a_damaged_data_set_is_named_by_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "bq-zh" / "valid.tsv.gz"
    file.parent.mkdir()
    file.write_bytes(gzip.compress("一\t二\t1\n一\t二\n".encode()))
    with pytest.raises(DataError, match=r"valid\.tsv\.gz line 2"):
        data.bq(tmp_path, "valid")
    with pytest.raises(DataError, match=r"banking77.train\.csv cannot be read"):
        data.banking77(tmp_path)
    (tmp_path / "clinc150").mkdir()
    (tmp_path / "clinc150" / "data_full.json").write_text(json.dumps({"train": []}))
    with pytest.raises(DataError, match="is not CLINC150"):
        data.clinc150(tmp_path)
