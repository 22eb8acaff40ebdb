"""One replica following its releases, with real models and releases in memory."""

import asyncio
import time

import numpy as np
import pytest

from chassis.errors import FailedPrecondition, NotFound, Unavailable
from inference.batching import Call
from inference.onnx_executor import OnnxExecutor, OnnxOptions
from inference.releases import Action, complete, promote, roll_back, set_canary
from inference.repository import Repository
from inference.rollout import Rollout, RolloutOptions
from inference.router import Router
from inference.store import MemoryReleaseStore
from tests.fixtures.inference import scale_model, until


class Replica:
    """A replica without its gRPC server."""

    def __init__(self, models, cache, **options):
        self.store, self.router, self.models = MemoryReleaseStore(), Router(), models
        self.changes = 0
        self.rollout = Rollout(
            Repository(str(models.path), cache),
            OnnxExecutor(OnnxOptions()),
            self.store,
            self.router,
            RolloutOptions("replica-1", **options),
            self.on_change,
        )

    async def on_change(self):
        self.changes += 1

    async def change(self, action, edit, model="scale"):
        await self.store.change(model, action, edit, "olga", "")
        await self.rollout.reconcile()

    async def answer(self, model="scale", version=""):
        """What y = factor · 1 says of the version that answered."""
        call = Call({"x": np.ones((1, 3), np.float32)}, ("y",), 1, time.monotonic() + 5)
        [y] = await self.router.choose(model, version).infer(call)
        return float(y[0, 0])

    async def acknowledged(self, model="scale"):
        await self.store.heartbeat("replica-1")
        [said] = (await self.store.replicas())[model]
        return said


@pytest.fixture
async def replica(models, tmp_path):
    """`scale` with versions 1 and 2, of which 1 is stable at first."""
    stable = 'parameters { key: "initial_stable" value { string_value: "1" } }'
    models.put("scale", 1, scale_model(1), stable)
    models.put("scale", 2, scale_model(2))
    replica = Replica(models, tmp_path / "cache")
    await replica.rollout.start()
    yield replica
    await replica.rollout.close()


async def test_it_starts_with_the_configured_stable_version(replica):
    assert await replica.answer() == 1
    assert replica.rollout.ready
    assert replica.changes
    [change] = await replica.store.changes("scale", 10)
    assert (change.action, change.after.stable, change.after.changed_by) == (Action.BOOTSTRAP, "1", "replica-1")


async def test_a_promoted_version_is_loaded_then_answers_and_the_old_one_stays_for_a_rollback(replica):
    await replica.change(Action.PROMOTE, promote("2"))
    assert await replica.answer() == 2
    assert await replica.answer(version="1") == 1
    assert complete((await replica.store.releases())["scale"], [await replica.acknowledged()])
    await replica.change(Action.ROLLBACK, roll_back())
    assert await replica.answer() == 1


async def test_what_no_release_names_is_unloaded(replica):
    await replica.change(Action.CANARY, set_canary("2", 0.5))
    assert await replica.answer(version="2") == 2
    await replica.change(Action.ROLLBACK, roll_back())
    with pytest.raises(NotFound, match="loaded are 1"):
        await replica.answer(version="2")


async def test_a_retired_version_finishes_the_calls_that_it_has(replica):
    await replica.change(Action.CANARY, set_canary("2", 0.5))
    old = replica.router.choose("scale", "2")
    calls = [
        asyncio.create_task(old.infer(Call({"x": np.ones((1, 3), np.float32)}, ("y",), 1, time.monotonic() + 5)))
        for _ in range(50)
    ]
    await asyncio.sleep(0)
    await replica.change(Action.ROLLBACK, roll_back())
    assert [float(y[0, 0]) for [y] in await asyncio.gather(*calls)] == [2.0] * 50


async def test_a_corrupt_version_keeps_the_old_one_serving_and_says_why(replica):
    replica.models.put("scale", 3, b"no model")
    await replica.change(Action.PROMOTE, promote("3"))
    assert await replica.answer() == 1
    assert replica.rollout.ready
    said = await replica.acknowledged()
    assert said.generation == 1
    assert "version 3: model.onnx can't be loaded" in said.error
    entries = {entry.version: entry for entry in await replica.rollout.index()}
    assert (entries["1"].state, entries["3"].state) == ("READY", "UNAVAILABLE")
    assert "can't be loaded" in entries["3"].reason


async def test_a_repaired_version_is_taken_when_it_is_loaded_again(replica):
    replica.models.put("scale", 3, b"no model")
    await replica.change(Action.PROMOTE, promote("3"))
    replica.models.put("scale", 3, scale_model(3))
    await replica.rollout.load_model("scale")
    assert await replica.answer() == 3
    assert (await replica.acknowledged()).error == ""


async def test_half_a_release_serves_its_stable_version_when_a_replica_starts(models, tmp_path):
    models.put("scale", 1, scale_model(1))
    replica = Replica(models, tmp_path / "cache")
    await replica.store.bootstrap({"scale": "1"}, "olga")
    await replica.store.change("scale", Action.CANARY, set_canary("2", 0.5), "olga", "")
    await replica.rollout.start()
    assert await replica.answer() == 1
    assert replica.rollout.ready
    assert "version" in (await replica.acknowledged()).error
    await replica.rollout.close()


async def test_a_model_that_can_not_be_loaded_keeps_the_replica_from_being_ready(models, tmp_path):
    models.put("scale", 1, b"no model")
    models.put("good", 1, scale_model(1))
    replica = Replica(models, tmp_path / "cache")
    await replica.rollout.start()
    assert not replica.rollout.ready
    assert replica.rollout.missing == ["scale"]
    with pytest.raises(Unavailable, match="can't be loaded"):
        replica.router.choose("scale")
    assert await replica.answer("good") == 1
    await replica.rollout.close()


async def test_loading_rescans_and_makes_the_newest_version_answer_by_name(replica):
    replica.models.put("scale", 3, scale_model(3))
    replica.models.put("other", 1, scale_model(7))
    await replica.rollout.load_model("scale")
    assert await replica.answer(version="3") == 3
    assert await replica.answer() == 1
    await replica.rollout.load_model("other")
    assert await replica.answer("other") == 7
    with pytest.raises(NotFound, match="nothing"):
        await replica.rollout.load_model("nothing")


async def test_loading_takes_changed_files_and_a_corrupt_change_leaves_the_old_ones(replica):
    replica.models.put("scale", 1, scale_model(10))
    await replica.rollout.load_model("scale")
    assert await replica.answer() == 10
    replica.models.put("scale", 1, b"broken")
    with pytest.raises(FailedPrecondition, match="can't be loaded"):
        await replica.rollout.load_model("scale")
    assert await replica.answer() == 10


async def test_unloading_takes_the_model_from_this_replica_and_leaves_its_release(replica):
    await replica.rollout.unload_model("scale", by="olga")
    with pytest.raises(Unavailable, match="unloaded on replica-1 by olga"):
        await replica.answer()
    assert (await replica.store.releases())["scale"].stable == "1"
    assert "olga" in (await replica.acknowledged()).error
    assert replica.rollout.ready
    await replica.change(Action.PROMOTE, promote("2"))
    with pytest.raises(Unavailable):
        await replica.answer()
    await replica.rollout.load_model("scale")
    assert await replica.answer() == 2


async def test_companions_come_and_go_with_the_version_that_names_them(models, tmp_path):
    stable = 'parameters { key: "initial_stable" value { string_value: "1" } }'
    companions = 'parameters { key: "companions" value { string_value: "item" } }'
    for version in (1, 2):
        models.put("item", version, scale_model(10 * version), stable)
        models.put("user", version, scale_model(version), stable + companions)
    replica = Replica(models, tmp_path / "cache")
    await replica.rollout.start()
    await replica.change(Action.CANARY, set_canary("2", 0.5), "user")
    assert await replica.answer("item", "2") == 20
    assert await replica.answer("item") == 10
    await replica.change(Action.ROLLBACK, roll_back(), "user")
    with pytest.raises(NotFound):
        await replica.answer("item", "2")
    await replica.rollout.close()


async def test_a_version_whose_companion_is_missing_is_not_taken(models, tmp_path):
    companions = 'parameters { key: "companions" value { string_value: "item" } }'
    models.put("item", 1, scale_model(10))
    models.put("user", 1, scale_model(1), companions)
    replica = Replica(models, tmp_path / "cache")
    await replica.rollout.start()
    models.put("user", 2, scale_model(2))
    await replica.change(Action.PROMOTE, promote("2"), "user")
    assert await replica.answer("user") == 1
    assert "version of model item" in (await replica.acknowledged("user")).error
    await replica.rollout.close()


async def test_all_versions_are_loaded_where_that_is_asked_for(models, tmp_path):
    for version in (1, 2, 3):
        models.put("scale", version, scale_model(version))
    replica = Replica(models, tmp_path / "cache", load_all_versions=True)
    await replica.rollout.start()
    assert [await replica.answer(version=version) for version in ("1", "2", "3")] == [1, 2, 3]
    assert await replica.answer() == 3
    await replica.rollout.close()


async def test_following_takes_changes_as_they_are_made(replica):
    following = asyncio.create_task(replica.rollout.follow())
    await replica.store.change("scale", Action.PROMOTE, promote("2"), "olga", "")

    async def promoted():
        return await replica.answer() == 2

    await until("version 2 to answer", promoted)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_replica_counts_once_it_is_ready_and_no_more_when_it_is_closed(replica):
    beating = asyncio.create_task(replica.rollout.beat())

    async def counted():
        return bool(await replica.store.replicas())

    await until("the replica to be counted", counted)
    beating.cancel()
    await replica.rollout.close()
    assert await replica.store.replicas() == {}
