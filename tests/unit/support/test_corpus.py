"""A knowledge base in memory: what is put is found, what is retired never again, whatever is merged meanwhile."""

import asyncio
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.corpus import Bases, Corpus, searched
from support.ports import ModelUnavailable
from tests.unit.support.library import ARTICLES, BASE, NOON, Library, article


def test_a_base_begins_with_its_first_article():
    bases = Bases()
    assert bases.of(BASE) is None
    assert bases.put(BASE, ARTICLES[0])
    assert [corpus.base for corpus in bases.all()] == [BASE]
    bases.forget(BASE)
    assert bases.of(BASE) is None


def test_an_older_revision_changes_nothing():
    corpus = Corpus(BASE)
    corpus.put(article("a", "new words", revision=3))

    assert not corpus.put(article("a", "old words", revision=2))
    assert not corpus.put(article("a", "other words", revision=3))
    assert corpus.get("a").phrasings["en"] == ("new words",)
    assert corpus.change == 1


def test_what_is_changed_by_itself_waits_for_no_import_and_the_longest_waiting_goes_first():
    corpus = Corpus(BASE)
    for name in ("a", "b", "c"):
        corpus.put(article(name, f"words of {name}"), imported=True)
    corpus.put(article("d", "words of d"))
    corpus.put(article("e", "words of e"), imported=True)
    corpus.put(article("b", "other words of b", revision=2))
    corpus.put(article("d", "other words of d", revision=2), imported=True)
    shelf = corpus.shelves["en"]

    taken = []
    while shelf.waits:
        taken += shelf.take_waiting(1)
    texts = [texts for _, texts in taken]
    assert texts == [("other words of d",), ("other words of b",), ("words of a",), ("words of c",), ("words of e",)]


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


CHANGES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["put", "retire", "catch up", "merge"])), min_size=1, max_size=30
)


@given(CHANGES)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_what_is_retired_is_not_found_and_what_is_not_is(changes):
    async def story() -> None:
        library = Library(*(article(f"a{number}", f"shelf {number}") for number in range(6)))
        await library.open()
        alive = {f"a{number}": f"shelf {number}" for number in range(6)}
        revision, merging = 1, []
        for number, what in changes:
            revision += 1
            name = f"a{number}"
            if what == "put":
                alive[name] = f"shelf {number} row {revision}"
                library.put(article(name, alive[name], revision=revision))
            elif what == "retire":
                alive.pop(name, None)
                library.put(article(name, revision=revision, retired=True))
            elif what == "catch up":
                await library.keeper.catch_up(BASE)
            else:  # a merge goes on beside what comes next
                merging.append(
                    asyncio.create_task(library.keeper.merge(shelf := library.corpus.shelves["en"], shelf.segments))
                )
                await asyncio.gather(*merging)
            found = await library.finds("shelf row", count=20)
            assert set(found) <= alive.keys()
            assert len(found) == len(set(found))
        await library.keeper.catch_up(BASE)
        await library.keeper.merged()
        for name, phrasing in alive.items():
            answer = await library.ask(phrasing)
            assert answer.candidates[0].article.article_id == name
            assert answer.candidates[0].phrasing == phrasing

    asyncio.run(story())


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
