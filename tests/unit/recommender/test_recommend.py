"""The use case over fakes: what a visitor sees, and what happens when a stage does not answer."""

import pytest

from recommender.catalogue import CatalogueItem
from recommender.features import UserProfile
from recommender.ranking import FEATURE_NAMES
from recommender.reranking import Policy
from tests.unit.recommender.fakes import NOW, TENANT, Cinema, film, films, ids


@pytest.fixture
async def cinema() -> Cinema:
    """60 films that a critic has seen; ana likes drama, and everyone has seen film-1 and film-2."""
    cinema = await Cinema(films(60), profiles=[UserProfile("eve", 30, "F", "artist")]).open()
    for number in range(60):
        cinema.visitors.act("user:critic", f"film-{number}", "rate", 3.0)
    for visitor in ("ana", "bob", "cat"):
        cinema.visitors.act(f"user:{visitor}", "film-1")
        cinema.visitors.act(f"user:{visitor}", "film-2")
    for number in (0, 4, 8):
        cinema.visitors.act("user:ana", f"film-{number}", "rate", 5.0)
    cinema.learn()
    return cinema


async def test_an_answer_fits_what_the_visitor_likes(cinema):
    answer = await cinema.recommend("ana")

    assert len(answer.items) == 10
    assert answer.items[0].item.facts.categories == ("Drama",)
    assert not answer.degraded


async def test_what_was_just_touched_or_excluded_never_comes_back(cinema):
    first = await cinema.recommend("ana", limit=40)
    cinema.visitors.act("user:ana", ids(first)[0])

    second = await cinema.recommend("ana", limit=40, excluded=(ids(first)[1],))

    assert ids(first)[0] not in ids(second)
    assert ids(first)[1] not in ids(second)
    assert not {"film-0", "film-1", "film-2", "film-4", "film-8"} & set(ids(second))


async def test_a_click_changes_the_next_answer(cinema):
    before = await cinema.recommend(session_id="guest")
    for number in (3, 7, 11):
        cinema.visitors.act("session:guest", f"film-{number}")

    after = await cinema.recommend(session_id="guest")

    horror = [sum(each.item.facts.categories == ("Horror",) for each in answer.items) for answer in (before, after)]
    assert horror[1] > horror[0]


async def test_an_anonymous_session_works_from_its_clicks_alone(cinema):
    cinema.visitors.act("session:guest", "film-2")

    answer = await cinema.recommend(session_id="guest")

    assert answer.visitor.history[0].item_id == "film-2"
    assert any(each.reason == "Because you liked Film 2" for each in answer.items)


async def test_a_new_user_gets_what_the_segment_likes(cinema):
    cinema.visitors.profiles["user:fay"] = UserProfile("fay", 29, "F")
    cinema.visitors.act("user:eve", "film-33", "like")
    cinema.learn()
    cinema.models.fail.add("dssm_user")

    answer = await cinema.recommend("fay")

    popular = answer.ranked.candidates.hits[2].found.rows
    assert cinema.catalogue.items[popular[0]].facts.item_id == "film-33"
    assert [each.reason for each in answer.items if each.item.facts.item_id == "film-33"] == ["Popular with 25-34/F"]


async def test_only_the_asked_category_comes(cinema):
    answer = await cinema.recommend("ana", category="Horror", limit=10)

    assert {each.item.facts.categories for each in answer.items} == {("Horror",)}
    assert len(answer.items) == 10


async def test_a_new_item_is_recalled_by_its_content_as_soon_as_it_is_in_the_catalogue(cinema):
    cinema.catalogues.put(TENANT, CatalogueItem(film(999, "Drama"), NOW, 1))
    await cinema.keeper.catch_up(TENANT)

    answer = await cinema.recommend("ana", limit=40)

    channels = {each.item.facts.item_id: [score.channel.name for score in each.channels] for each in answer.items}
    assert "NEW_ITEM" in channels["film-999"]


async def test_an_item_that_comes_during_a_request_does_not_disturb_it(cinema):
    ask = cinema.models.user_vector

    async def while_an_item_comes(*arguments):
        cinema.catalogues.put(TENANT, CatalogueItem(film(60, "Drama"), NOW, 1))
        return await ask(*arguments)

    cinema.models.user_vector = while_an_item_comes

    answer = await cinema.recommend("ana", limit=40)

    assert len(answer.items) == 40
    assert "film-60" not in ids(answer)


async def test_a_retired_item_is_not_recalled(cinema):
    first = ids(await cinema.recommend("ana"))[0]
    item = cinema.catalogue.get(first)
    cinema.catalogues.put(TENANT, CatalogueItem(item.facts, NOW, 2, retired=True))

    assert first not in ids(await cinema.recommend("ana", limit=40))


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"din"}, ["recall order without ranker"]),
        ({"dssm_user"}, ["recall without user tower"]),
        ({"dssm_user", "din"}, ["recall without user tower", "recall order without ranker"]),
    ],
)
async def test_a_stage_without_its_model_has_a_fallback_and_says_so(cinema, broken, says):
    cinema.models.fail |= broken

    answer = await cinema.recommend("bob")

    assert answer.items
    assert [text.partition(":")[0] for text in answer.degraded] == says


async def test_without_models_the_answer_is_item_to_item_and_popular_in_recall_order(cinema):
    cinema.models.fail |= {"dssm_user", "din"}
    cinema.visitors.act("session:guest", "film-1")

    answer = await cinema.recommend(session_id="guest")

    assert {each.name for item in answer.items for each in [score.channel for score in item.channels]} == {
        "ITEM_TO_ITEM",
        "POPULAR",
    }
    assert [item.ranking_rank for item in sorted(answer.items, key=lambda each: each.recall_rank)] == sorted(
        item.ranking_rank for item in answer.items
    )


async def test_a_version_without_an_index_is_asked_again_of_one_that_has_one(cinema):
    cinema.models.version_of = lambda _key: "2"

    answer = await cinema.recommend("ana")

    assert answer.ranked.candidates.query.user_tower == "1"
    assert answer.degraded == ("recall: no index of user tower 2 yet, asked version 1",)
    assert cinema.models.calls[-3:-1] == [("dssm_user", ""), ("dssm_user", "1")]


async def test_each_version_is_looked_up_in_its_own_index(cinema):
    cinema.models.loaded = ["1", "2"]
    await cinema.keeper.refresh()
    cinema.models.version_of = lambda key: "2" if key.endswith("ana") else "1"

    assert (await cinema.recommend("ana")).ranked.candidates.query.index.version == "2"
    assert (await cinema.recommend("bob")).ranked.candidates.query.index.version == "1"


async def test_every_item_can_explain_itself(cinema):
    answer = await cinema.recommend("ana")

    for rank, item in enumerate(answer.items, start=1):
        assert item.final_rank == rank
        assert item.channels
        assert item.recall_rank >= 1
        assert len(item.features) == len(FEATURE_NAMES)
        assert item.final_rank == item.ranking_rank or item.notes
    assert [stage.name for stage in answer.stages] == ["live sequence", "recall", "features", "ranking", "re-ranking"]


async def test_the_same_recommendation_is_replayed_by_its_id():
    cinema = await Cinema(films(60), Policy(exploration_probability=0.5)).open()

    first, again = await cinema.recommend("ana"), await cinema.recommend("ana")

    assert ids(first) == ids(again)
    assert [each.propensity for each in first.items] == [each.propensity for each in again.items]


async def test_an_empty_catalogue_has_an_empty_answer():
    assert not (await Cinema([]).recommend("ana")).items
