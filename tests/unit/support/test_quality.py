"""What labels and feedback say of an answer, and what a calibration is fitted to."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from casebook.support.v1 import events_pb2 as events
from chassis.events import PoisonMessage
from support import quality
from support.calibration import Calibration, Calibrations
from support.events import labelled
from support.knowledge import Article, Candidate, KnowledgeBase, LabelledQuestion, Language, Scores
from support.quality import Quality, examples
from support.store import InForce
from tests.fixtures.serving import until
from tests.unit.support.bank import BASE, calibrations


def top(article_id: str, logit: float) -> Candidate:
    return Candidate(Article(article_id, {"en": "t"}, {"en": "a"}, {}), "", Scores(reranked=logit))


@pytest.mark.parametrize(
    ("question", "best", "right_and_in_scope"),
    [
        (LabelledQuestion("?", "en", "cards"), top("cards", 2.0), (True, True)),
        (LabelledQuestion("?", "en", "cards"), top("fees", 2.0), (False, True)),
        (LabelledQuestion("?", "en", None), top("cards", 2.0), (False, False)),
        (LabelledQuestion("?", "en", None, wrong_article_id="cards"), top("cards", 2.0), (False, True)),
    ],
    ids=["right", "wrong", "out of scope", "known to be wrong"],
)
def test_the_best_candidate_is_judged_by_the_label(question, best, right_and_in_scope):
    [example] = examples([question], [best])

    assert (example.top_is_right, example.in_scope) == right_and_in_scope
    assert example.logit == 2.0


def test_of_a_question_whose_wrong_answer_alone_is_known_nothing_follows_once_another_comes_first():
    question = LabelledQuestion("?", "en", None, wrong_article_id="cards")

    assert examples([question], [top("fees", 2.0)]) == []
    assert examples([question], [None]) == []


def test_a_question_that_finds_nothing_counts_below_all_that_do():
    questions = [LabelledQuestion(text, "en", "cards", from_feedback=text == "b") for text in "abc"]

    logits = [example.logit for example in examples(questions, [top("cards", -3.0), None, top("cards", 1.0)])]

    assert logits == [-3.0, -4.0, 1.0]


@pytest.mark.parametrize(
    ("says", "label"),
    [
        ({"correct_article_id": "cards", "in_scope": True}, ("cards", None)),
        ({"answered_article_id": "fees", "correct_article_id": "cards", "in_scope": True}, ("cards", None)),
        ({"in_scope": False}, (None, None)),
        ({"answered_article_id": "fees", "in_scope": True}, (None, "fees")),
        ({"in_scope": True}, None),
        ({"correct_article_id": "cards", "in_scope": True, "context": "Where is my card?"}, None),
    ],
    ids=["right", "corrected", "out of scope", "wrong, no more is known", "none of the candidates", "a follow-up"],
)
def test_feedback_says_what_it_says_of_the_question(says, label):
    given = events.FeedbackGiven(knowledge_base="bank", language="en", question="Where is it?", **says)

    question = labelled(given)

    assert (question and (question.article_id, question.wrong_article_id)) == label
    assert question is None or question.from_feedback


@pytest.mark.parametrize("broken", [{"language": "de"}, {"question": ""}, {"question": "?" * 2_001}])
def test_feedback_that_can_never_be_a_label_is_poison(broken):
    given = {"knowledge_base": "bank", "language": "en", "question": "Where is it?", "in_scope": False} | broken

    with pytest.raises(PoisonMessage, match=next(iter(broken))):
        labelled(events.FeedbackGiven(**given))


class Stored:
    """What another replica, or another release, has stored."""

    def __init__(self, *in_force: InForce) -> None:
        self.rows = list(in_force)
        self.calibrations: dict[Language, str] = {}
        self.looks = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def in_force(self) -> list[InForce]:
        self.looks += 1
        read = list(self.rows)
        await self.answers.wait()
        return read

    async def calibration(self, base: KnowledgeBase, language: Language) -> Calibration:
        return Calibration.from_json(self.calibrations[language])

    async def set_target_risk(self, base: KnowledgeBase, languages: list[Language], risk: float, by: str) -> None:
        self.rows = [InForce(base, each, None, risk) for each in languages]


def following(stored: Stored) -> tuple[Quality, Calibrations]:
    here = calibrations()
    return Quality(stored, None, None, here, lambda: datetime.now(UTC), 100, 1), here


async def test_a_risk_that_was_read_before_another_was_chosen_does_not_count_after_it():
    stored = Stored(InForce(BASE, "en", None, 0.05))
    quality, here = following(stored)
    stored.answers.clear()
    looking = asyncio.create_task(quality.refresh())
    await until("the look to have read", lambda: _soon(stored.looks == 1))

    choosing = asyncio.create_task(quality.aim(BASE, ["en"], 0.01, "olga"))
    for _ in range(10):
        await asyncio.sleep(0)
    stored.answers.set()
    await asyncio.gather(looking, choosing)

    assert here.of(BASE, "en").target_risk == 0.01


async def test_a_calibration_of_a_newer_release_leaves_the_one_before_in_force_and_is_read_once():
    stored = Stored(InForce(BASE, "en", "newer", 0.05), InForce(BASE, "zh", "as-ever", None))
    readable = calibrations().of(BASE, "zh").to_json()
    stored.calibrations["en"] = json.dumps(json.loads(readable) | {"shape": "a field that this release lacks"})
    stored.calibrations["zh"] = json.dumps(json.loads(readable) | {"version": "as-ever"})
    quality, here = following(stored)

    await quality.refresh()
    del stored.calibrations["en"]
    await quality.refresh()

    assert (here.of(BASE, "en").version, here.of(BASE, "en").target_risk) == ("c1", 0.05)
    assert here.of(BASE, "zh").version == "as-ever"


async def test_a_store_that_does_not_answer_is_asked_again(monkeypatch):
    monkeypatch.setattr(quality, "WITHIN_SECONDS", 0.05)
    stored = Stored(InForce(BASE, "en", None, 0.01))
    stored.answers.clear()
    follower, here = following(stored)
    running = asyncio.create_task(follower.run(0.01))

    await until("a second look", lambda: _soon(stored.looks >= 2), 10)
    stored.answers.set()
    await until("the risk to count", lambda: _soon(here.of(BASE, "en").target_risk == 0.01), 10)
    running.cancel()


async def _soon(seen: bool) -> bool:
    return seen
