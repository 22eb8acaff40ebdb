"""A knowledge base in memory: what is put is found, what is retired never again, whatever is merged meanwhile."""

import asyncio
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.corpus import LANES, LONGEST_SINGLE, Bases, Corpus, CorpusKeeper, searched
from support.knowledge import KnowledgeBase
from support.language import tokens
from support.ports import ModelUnavailable
from support.retrieval import search
from tests.fixtures.serving import until
from tests.unit.support.library import ARTICLES, BASE, NOON, Held, Library, article


def test_a_base_begins_with_its_first_article():
    bases = Bases()
    assert bases.of(BASE) is None
    assert bases.put(BASE, ARTICLES[0])
    assert [corpus.base for corpus in bases.all()] == [BASE]


def test_an_older_revision_changes_nothing():
    corpus = Corpus(BASE)
    corpus.put(article("a", "new words", revision=3))

    assert not corpus.put(article("a", "old words", revision=2))
    assert not corpus.put(article("a", "other words", revision=3))
    assert corpus.get("a").phrasings["en"] == ("new words",)
    assert corpus.change == 3


def test_the_version_of_the_same_articles_is_the_same_in_whichever_order_they_came():
    one, another = Corpus(BASE), Corpus(BASE)
    for revision in (1, 2, 3):
        one.put(article("a", f"words {revision}", revision=revision))
    one.put(article("b", "more", revision=5))
    another.put(article("b", "more", revision=5))
    another.put(article("a", "words 3", revision=3))

    assert one.change == another.change == 8
    assert another.put(article("b", revision=6, retired=True))
    assert another.change == 9


def test_the_longest_waiting_goes_first_and_what_waits_by_itself_is_not_put_among_imports():
    corpus = Corpus(BASE)
    for name in ("a", "b", "c"):
        corpus.put(article(name, f"words of {name}"), imported=True)
    corpus.put(article("d", "words of d"))
    corpus.put(article("e", "words of e"), imported=True)
    corpus.put(article("b", "other words of b", revision=2))
    corpus.put(article("d", "other words of d", revision=2), imported=True)
    shelf = corpus.shelves["en"]

    taken = {lane: [texts for _, texts in shelf.take_waiting(lane)] for lane in LANES}
    assert taken == {
        "single": [("other words of d",), ("other words of b",)],
        "imported": [("words of a",), ("words of c",), ("words of e",)],
    }
    assert not any(shelf.waits(lane) for lane in LANES)
    assert shelf.pending == 5


def test_a_change_that_takes_as_long_as_an_import_goes_with_imports():
    corpus = Corpus(BASE)
    shelf = corpus.shelves["en"]
    corpus.put(article("a", "words of a"))
    corpus.put(article("a", *(f"words {number}" for number in range(LONGEST_SINGLE + 1)), revision=2))
    corpus.put(article("b", *(f"words {number}" for number in range(LONGEST_SINGLE))))

    assert [len(texts) for _, texts in shelf.take_waiting("single")] == [LONGEST_SINGLE]
    assert [len(texts) for _, texts in shelf.take_waiting("imported")] == [LONGEST_SINGLE + 1]


def test_what_could_not_be_taken_in_waits_again_as_the_first_in_its_newest_state():
    corpus = Corpus(BASE)
    shelf = corpus.shelves["en"]
    for name in ("a", "b", "c", "d"):
        corpus.put(article(name, f"words of {name}"), imported=True)
    taken = shelf.take_waiting("imported", 3)
    corpus.put(article("b", "other words of b", revision=2))
    corpus.put(article("c", revision=2, retired=True))
    shelf.give_back("imported", taken)

    assert [texts for _, texts in shelf.take_waiting("imported")] == [("words of a",), ("words of d",)]
    assert [texts for _, texts in shelf.take_waiting("single")] == [("other words of b",)]


@pytest.fixture
async def kept():
    """The library, and what keeps its indexes beside it."""
    library = await Library().open()
    library.keeper = CorpusKeeper(library.bases, library.encoder, poll_seconds=600.0)
    keeping = asyncio.create_task(library.keeper.run())
    yield library
    keeping.cancel()
    await asyncio.wait([keeping], timeout=5)


async def until_found(library: Library, article_id: str, phrasing: str) -> None:
    """Waits until an article is the first for one of its phrasings, by words and by meaning."""

    async def is_found() -> bool:
        best = (await library.ask(phrasing)).candidates[0]
        return (best.article.article_id, best.phrasing) == (article_id, phrasing) and best.scores.dense > 0.5

    await until(f"{article_id} to be found", is_found, 5)


async def test_a_change_by_itself_waits_for_no_import_that_is_being_encoded(kept):
    matters = [f"matter number {number}" for number in range(200)]
    held = kept.encoder.held[matters[0]] = Held()
    kept.put(article("large", *matters), article("more", "yet more matter"), imported=True)
    kept.keeper.wake()
    await asyncio.wait_for(held.begun.wait(), 5)
    kept.put(article("film", "where are the microfilm readers"))
    kept.keeper.wake()

    await until_found(kept, "film", "where are the microfilm readers")
    assert kept.corpus.indexed < kept.corpus.change
    assert not {"large", "more"} & set(await kept.finds("yet more matter"))

    held.let_go.set()
    await until_found(kept, "large", matters[0])
    await until_found(kept, "more", "yet more matter")
    await kept.keeper.catch_up(BASE)
    assert kept.corpus.indexed == kept.corpus.change


async def test_a_change_of_one_base_asks_nothing_of_the_model_server_for_others(kept):
    for number in range(20):
        kept.bases.put(KnowledgeBase("city", f"branch-{number}"), ARTICLES[0])
    await kept.keeper.refresh()
    before = kept.encoder.listed
    kept.put(article("film", "where are the microfilm readers"))
    kept.keeper.wake()
    await until_found(kept, "film", "where are the microfilm readers")

    assert kept.encoder.listed - before <= 2 * len(kept.corpus.shelves)


async def test_an_import_that_a_change_by_itself_has_overtaken_does_not_bring_the_older_state_back(kept):
    older, newer = "at what time does the tower close", "at what time does the cellar close"
    held = kept.encoder.held[older] = Held()
    kept.put(article("hours", older, revision=2), article("tower", "how high is the tower"), imported=True)
    kept.keeper.wake()
    await asyncio.wait_for(held.begun.wait(), 5)
    kept.put(article("hours", newer, revision=3))
    kept.keeper.wake()
    await until_found(kept, "hours", newer)
    held.let_go.set()
    await until_found(kept, "tower", "how high is the tower")

    assert older not in {each.phrasing for each in (await kept.ask(older)).candidates}
    await until_found(kept, "hours", newer)
    shelf = kept.corpus.shelves["en"]
    assert sum(each.live.sum() for each in shelf.segments) == shelf.articles == len(ARTICLES) + 1


async def test_a_retired_article_answers_no_more_at_once():
    library = await Library().open()
    library.put(article("lend", revision=2, retired=True))

    assert "lend" not in await library.finds("how do I lend a book")
    assert library.bases.article(BASE, "lend") is None


async def test_a_retired_article_that_is_put_again_answers_again():
    library = await Library().open()
    library.put(article("lend", revision=2, retired=True))
    library.put(article("lend", "how do I lend a book", revision=3))
    await library.keeper.catch_up(BASE)

    assert (await library.finds("how do I lend a book"))[0] == "lend"


async def test_a_changed_article_is_found_by_its_new_words_and_not_by_its_old():
    library = await Library().open()
    library.put(article("hours", "at what time does the reading room close", revision=2))
    await library.keeper.catch_up(BASE)

    answer = await library.ask("when does the reading room close")
    assert answer.candidates[0].article.article_id == "hours"
    assert answer.candidates[0].article.revision == 2
    assert answer.index == library.corpus.change
    found = await library.ask("opening hours on sunday")
    assert all(each.phrasing != "opening hours on sunday" for each in found.candidates)


async def test_until_it_is_taken_in_a_changed_article_is_found_by_its_old_words_and_says_the_new():
    library = await Library().open()
    library.put(article("hours", "reading room", revision=2))

    [best, *_] = (await library.ask("when are you open")).candidates
    assert (best.article.article_id, best.article.revision) == ("hours", 2)


async def test_a_change_of_the_answer_alone_leaves_the_index_as_it_is():
    library = await Library().open()
    before = library.corpus.shelves["en"].segments
    library.put(article("hours", *ARTICLES[2].phrasings["en"], zh=ARTICLES[2].phrasings["zh"], revision=2))
    await library.keeper.catch_up(BASE)

    assert library.corpus.shelves["en"].segments == before


async def test_who_may_be_answered_and_when_is_kept_to():
    library = await Library(
        article("staff", "rota of the desk", audience="staff"),
        article("spring", "easter reading", valid_from=NOON, valid_to=NOON + timedelta(days=1)),
        article("open", "desk reading"),
    ).open()

    assert await library.finds("rota of the desk") == ["open", "spring"]
    assert (await library.finds("rota of the desk", audiences={"staff"}))[0] == "staff"
    assert "spring" not in await library.finds("easter reading", now=NOON - timedelta(seconds=1))
    assert "spring" not in await library.finds("easter reading", now=NOON + timedelta(days=1))


async def test_without_the_model_server_an_article_is_found_by_words_and_later_by_meaning_too():
    library = Library()
    library.encoder.fails = True
    with pytest.raises(ModelUnavailable):
        await library.keeper.refresh()
    assert (await library.finds("lend a book"))[0] == "lend"

    library.encoder.fails = False
    await library.keeper.refresh()
    answer = await library.ask("borrow a publication")
    assert answer.degraded == ()
    assert answer.candidates[0].article.article_id == "lend"


async def test_a_call_that_fails_costs_nothing_that_is_there_its_vectors():
    library = await Library().open()
    library.encoder.refused.add("microfilm readers")
    library.put(article("film", "microfilm readers"))
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await library.keeper.refresh()
        await library.keeper.merged()

    answer = await library.ask("borrow a publication")
    assert (answer.candidates[0].article.article_id, answer.degraded) == ("lend", ())
    assert (await library.finds("microfilm"))[0] == "film"

    library.encoder.refused.clear()
    await library.open()
    shelf = library.corpus.shelves["en"]
    assert [(len(each), list(each.dense)) for each in shelf.segments] == [(11, ["1"])]


async def test_the_encoder_of_one_language_costs_the_other_none_of_its_vectors():
    library = Library()
    library.encoder.refused |= {each for one in ARTICLES for each in one.phrasings["en"]}
    with pytest.raises(ModelUnavailable):
        await library.keeper.refresh()

    assert not library.corpus.shelves["en"].versions()
    assert library.corpus.shelves["zh"].versions() == ("1",)
    assert not (await library.ask("怎么借书", "zh")).degraded


async def test_a_version_that_fails_costs_no_other_version_its_vectors():
    library = await Library(*(article(f"a{number}", f"shelf {number}") for number in range(20))).open()
    phrasings = library.encoder.phrasings

    async def all_but_the_canary(texts, language, version):
        if version == "2":
            raise ModelUnavailable("the canary is out of memory")
        return await phrasings(texts, language, version)

    library.encoder.phrasings = all_but_the_canary
    library.encoder.loaded["en"] = ["2", "1"]
    library.encoder.fails = True
    library.put(article("film", "microfilm readers"))
    with pytest.raises(ModelUnavailable):
        await library.keeper.refresh()
    library.encoder.fails = False
    with pytest.raises(ModelUnavailable, match="canary"):
        await library.keeper.refresh()

    assert all(list(each.dense) == ["1"] for each in library.corpus.shelves["en"].segments)


async def test_where_all_are_retired_while_one_is_changed_nothing_is_found():
    library = await Library(*ARTICLES[:2]).open()
    held = library.encoder.held["lend a microfilm"] = Held()
    library.put(article("lend", "lend a microfilm", revision=2))
    taking_in = asyncio.create_task(library.keeper.catch_up(BASE))
    await asyncio.wait_for(held.begun.wait(), 5)
    library.put(*(article(each.article_id, revision=3, retired=True) for each in ARTICLES[:2]))
    held.let_go.set()
    await taking_in
    await library.keeper.merged()

    assert await library.finds("lend a book") == await library.finds("借书", "zh") == []
    library.put(article("film", "microfilm readers"))
    await library.open()
    assert await library.finds("microfilm") == ["film"]


async def test_a_search_under_way_finds_what_is_changed_meanwhile_where_it_was():
    library = await Library().open()
    segments = library.corpus.shelves["en"].segments
    usable = [each.live.copy() for each in segments]
    library.put(article("hours", "at what time does the tower close", revision=2))
    await library.keeper.catch_up(BASE)

    found = search(segments, usable, tokens("opening hours on sunday", "en"), None, 5, 0.5, "en")
    assert found.phrasings[int(found.lexical.argmax())] == "opening hours on sunday"


async def test_a_new_version_of_the_encoder_gets_its_vectors_and_the_old_one_goes():
    library = await Library().open()
    library.encoder.loaded["en"] = ["1", "2"]
    await library.keeper.refresh()
    assert library.corpus.shelves["en"].versions() == ("1", "2")
    assert (await library.ask("lend a book")).encoders == ("encoder_en/2",)

    library.encoder.loaded["en"] = ["2"]
    await library.keeper.refresh()
    assert library.corpus.shelves["en"].versions() == ("2",)


async def test_a_version_that_is_not_indexed_yet_is_not_compared_with():
    library = await Library().open()
    library.encoder.loaded["en"] = ["1", "2"]

    answer = await library.ask("lend a book")
    assert (answer.encoders, answer.degraded) == (("encoder_en/1",), ())


async def test_a_change_just_after_a_release_is_found_by_meaning_though_the_old_version_is_gone():
    library = await Library().open()
    library.encoder.loaded["en"] = ["1", "2"]
    await library.keeper.refresh()
    library.encoder.loaded["en"] = ["2"]  # nobody has looked since
    library.put(article("film", "borrow a publication on microfilm"))
    await library.keeper.catch_up(BASE)

    answer = await library.ask("lend a book")
    assert (answer.encoders, answer.degraded) == (("encoder_en/2",), ())
    assert next(each for each in answer.candidates if each.article.article_id == "film").scores.dense > 0.0


async def test_the_last_vectors_stay_when_their_encoder_is_gone():
    library = await Library().open()
    library.encoder.loaded["en"] = []
    await library.keeper.refresh()

    assert library.corpus.shelves["en"].versions() == ("1",)


async def test_what_is_cancelled_while_it_is_taken_in_is_taken_in_later():
    library = await Library().open()
    library.put(article("new", "microfilm readers"))
    library.encoder.hangs = True
    task = asyncio.create_task(library.keeper.catch_up(BASE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    library.encoder.hangs = False
    await library.keeper.catch_up(BASE)

    assert (await library.finds("microfilm"))[0] == "new"


def test_an_article_without_chinese_is_searched_there_by_its_english():
    only_english, both = article("a", "hours"), article("b", "hours", zh=("几点",))

    assert searched(only_english, "zh") == ("hours",)
    assert searched(both, "zh") == ("几点",)
    assert searched(article("c", zh=("几点",)), "en") == ()


async def test_segments_answer_as_one_index_built_anew_does():
    grown = await Library(*ARTICLES[:2]).open()
    shelf = grown.corpus.shelves["en"]
    shelf.due = lambda: ()  # leave the segments as they come
    for each in ARTICLES[2:]:
        grown.put(each)
        await grown.keeper.catch_up(BASE)
    whole = await Library().open()

    assert len(shelf.segments) == 4
    for question in ("lend a book", "the fine", "open on sunday", "what does it cost"):
        ours, theirs = await grown.ask(question), await whole.ask(question)
        words = [{c.article.article_id: c.scores.lexical for c in each.candidates} for each in (ours, theirs)]
        assert ours.candidates[0].article.article_id == theirs.candidates[0].article.article_id
        assert words[0] == pytest.approx(words[1], rel=0.15)  # the mean length is that of the first segment
        meaning = [{c.article.article_id: c.scores.dense for c in each.candidates} for each in (ours, theirs)]
        assert meaning[0] == pytest.approx(meaning[1], abs=0.1)  # and so is the mean vector


async def test_many_small_changes_are_merged_away():
    library = await Library(*(article(f"a{number}", f"shelf {number}") for number in range(300))).open()
    for number in range(30):
        library.put(article(f"a{number}", f"cupboard {number}", revision=2))
        await library.keeper.catch_up(BASE)
        await library.keeper.merged()

    shelf = library.corpus.shelves["en"]
    assert len(shelf.segments) <= 2
    assert len(shelf) == 300
    assert (await library.finds("cupboard 7"))[0] == "a7"


class Story:
    """Six articles to which things happen, while what has been begun before goes on."""

    def __init__(self) -> None:
        self.alive = {f"a{number}": f"shelf {number}" for number in range(6)}
        self.said = {name: [phrasing] for name, phrasing in self.alive.items()}
        self.library = Library(*(article(name, phrasing) for name, phrasing in self.alive.items()))
        self.shelf = self.library.corpus.shelves["en"]
        self.revision = 1
        self.begun: list[asyncio.Task[object]] = []

    async def put(self, number: int) -> None:
        self._put(f"a{number}")

    async def import_(self, number: int) -> None:
        self._put(f"a{number}", "that has come with others", "one of many", imported=True)

    def _put(self, name: str, *more: str, imported: bool = False) -> None:
        self.alive[name] = f"shelf {name} row {self.revision}"
        self.said[name].append(self.alive[name])
        self.library.put(article(name, self.alive[name], *more, revision=self.revision), imported=imported)

    async def retire(self, number: int) -> None:
        self.alive.pop(f"a{number}", None)
        self.library.put(article(f"a{number}", revision=self.revision, retired=True))

    async def begin_to_take_in(self, number: int) -> None:
        self.begun.append(asyncio.create_task(self.library.keeper.refresh()))

    async def begin_to_merge(self, number: int) -> None:
        self.begun.append(asyncio.create_task(self.library.keeper.merge(self.shelf, self.shelf.segments)))
        await self.begun[-1]

    async def cancel(self, number: int) -> None:
        if self.begun:
            self.begun[number % len(self.begun)].cancel()

    async def go_on(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    async def catch_up(self, number: int) -> None:
        await self.library.keeper.catch_up(BASE)
        assert not self.shelf.pending
        assert self.library.corpus.indexed == self.library.corpus.change

    async def look(self) -> None:
        """What is found is alive, once, and says nothing that it said before what it was last found by."""
        answer = await self.library.ask("shelf row", count=20)
        found = [each.article.article_id for each in answer.candidates]
        assert set(found) <= self.alive.keys()
        assert len(found) == len(set(found))
        for each in answer.candidates:
            said = self.said[each.article.article_id]
            del said[: said.index(each.phrasing)]

    async def end(self) -> None:
        await asyncio.gather(*self.begun, return_exceptions=True)
        await self.catch_up(0)
        await self.library.keeper.merged()
        for name, phrasing in self.alive.items():
            best = (await self.library.ask(phrasing)).candidates[0]
            assert (best.article.article_id, best.phrasing) == (name, phrasing)


HAPPENINGS = (
    Story.put,
    Story.import_,
    Story.retire,
    Story.begin_to_take_in,
    Story.begin_to_merge,
    Story.cancel,
    Story.go_on,
    Story.catch_up,
)


@given(st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 5)), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_whatever_happens_what_is_retired_is_not_found_and_what_is_not_is(happenings):
    async def tell() -> None:
        story = Story()
        await story.library.open()
        for happens, number in happenings:
            story.revision += 1
            await happens(story, number)
            await story.look()
        await story.end()

    asyncio.run(tell())


async def test_retired_while_a_merge_is_under_way():
    library = await Library(*(article(f"a{number}", f"shelf {number}") for number in range(200))).open()
    shelf = library.corpus.shelves["en"]
    merging = asyncio.create_task(library.keeper.merge(shelf, shelf.segments))
    await asyncio.sleep(0)
    library.put(article("a7", revision=2, retired=True), article("a8", "cupboard", revision=2))
    await merging
    await library.keeper.catch_up(BASE)
    await library.keeper.merged()

    assert "a7" not in await library.finds("shelf 7", count=200)
    assert (await library.finds("cupboard"))[0] == "a8"
    assert np.sum([each.live.sum() for each in shelf.segments]) == 199
