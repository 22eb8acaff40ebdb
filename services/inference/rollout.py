"""How one replica follows the releases: load, warm, swap, drain, acknowledge.

A release's versions are all loaded and warmed before its route takes the old one's place, in one step; the versions
that nothing names any more then finish their calls and are unloaded. When a version can't be loaded, the old route goes
on serving, the reason is acknowledged for everyone to see, and it is tried again with back-off.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from chassis import faults
from chassis.errors import CasebookError, FailedPrecondition, NotFound, Unavailable
from chassis.faults import Fault
from inference import telemetry
from inference.executor import Executor
from inference.releases import REPLICA_TTL_SECONDS, Acknowledgement, Release, ReleaseStore
from inference.repository import Repository, RepositoryModel
from inference.router import Route, Router
from inference.served import ServedVersion

HEARTBEAT_SECONDS = REPLICA_TTL_SECONDS / 3
RETRY_SECONDS = (2.0, 60.0)
"""The first and the longest pause before a version that can't be loaded is tried again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """How this replica goes about it."""

    replica: str
    drain_seconds: float = 20.0
    queue_limit: int = 1024
    load_all_versions: bool = False
    """Whether every version in the repository is loaded, to answer calls that name it."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version in the repository, as this replica sees it."""

    model: str
    version: str
    state: str
    """READY, LOADING, UNLOADING or UNAVAILABLE."""
    reason: str = ""


@dataclass(slots=True)
class _Failure:
    """A release that could not be taken, and when that is tried again (in seconds of `time.monotonic`)."""

    generation: int
    why: str
    pause_seconds: float
    retry_at: float


class Rollout:
    """Brings the router to what the releases say. `on_change` is told after each step, for health and readiness."""

    def __init__(
        self,
        repository: Repository,
        executor: Executor,
        store: ReleaseStore,
        router: Router,
        options: RolloutOptions,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._repository = repository
        self._executor = executor
        self._store = store
        self._router = router
        self._options = options
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self._failures: dict[str, _Failure] = {}
        self._load_errors: dict[tuple[str, str], str] = {}
        self._loading: set[tuple[str, str]] = set()
        self._retiring: dict[asyncio.Task[None], tuple[str, str]] = {}
        self._pinned: set[tuple[str, str]] = set()
        self._unloaded: dict[str, str] = {}
        self._released: Mapping[str, Release] = {}
        self._unsent: dict[str, Acknowledgement] = {}
        self._started = False
        self._was_ready = asyncio.Event()

    async def start(self) -> None:
        """Scans the repository, gives models without a release their first one, and loads what the releases name."""
        models = await asyncio.to_thread(self._repository.scan)
        await self._store.bootstrap({m.name: m.initial_stable for m in models.values()}, by=self._options.replica)
        await self.reconcile()
        self._started = True
        await self._changed()

    async def follow(self) -> None:
        """Starts, then brings this replica to every change of the releases. Returns only when it is cancelled."""
        pause, longest = RETRY_SECONDS
        while not self._started:
            try:
                await self.start()
            except Unavailable as error:
                _log.warning("can't start yet: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
        async with aclosing(self._store.watch()) as changes:
            async for _ in changes:
                try:
                    await self.reconcile()
                except Unavailable as error:
                    _log.warning("releases can't be read, what is known goes on serving: %s", error)

    async def beat(self) -> None:
        """Counts this replica among the ready ones, from when it is ready until it is cancelled."""
        await self._was_ready.wait()
        while True:
            try:
                await self._store.heartbeat(self._options.replica)
            except Unavailable as error:
                _log.warning("no heartbeat: %s", error)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    @property
    def ready(self) -> bool:
        """Whether every model that has a release, and is not unloaded here, is served."""
        return self._started and not self.missing

    @property
    def released(self) -> Collection[Release]:
        """The newest release of every model, as far as this replica has heard."""
        return self._released.values()

    @property
    def missing(self) -> list[str]:
        """Models that should be served here and are not."""
        wanted = self._released.keys() & self._repository.models.keys() - self._unloaded.keys()
        return sorted(wanted - self._router.routes.keys())

    def is_ready(self, model: str, version: str) -> bool:
        """Whether a version, or for "" the model's stable one, is served. Raises NotFound for what there is not."""
        known = self._repository.model(model)
        if not version:
            return model in self._router.routes
        if version not in known.versions:
            raise NotFound(f"version of model {model}", version, f"the repository has {', '.join(known.versions)}")
        return self._here(model, version) is not None

    async def reconcile(self) -> None:
        """One step: everything that the releases name is loaded, everything else is retired."""
        async with self._lock:
            releases = await self._store.releases()
            self._released = releases
            if not releases.keys() <= self._repository.models.keys():
                await asyncio.to_thread(self._repository.scan)
            for model, release in releases.items():
                if self._due(model, release):
                    await self._take(model, release)
            if self._options.load_all_versions:
                await self._load_all()
            self._retire_unwanted()
            await self._send_acknowledgements()
        await self._changed()

    async def load_model(self, model: str) -> None:
        """Triton's `RepositoryModelLoad`: rescans, then makes the release's versions and the newest one ready.

        Versions whose files have changed are loaded anew. Releases are not changed, but for a model that had none: the
        newest version answers calls that name it, and which one answers the others is the release's to say. Raises
        NotFound for an unknown model, FailedPrecondition when a version can't be loaded.
        """
        await asyncio.to_thread(self._repository.scan)
        newest = self._repository.model(model).versions[-1]
        await self._store.bootstrap({model: self._repository.model(model).initial_stable}, by=self._options.replica)
        async with self._lock:
            self._unloaded.pop(model, None)
            self._pinned = {pin for pin in self._pinned if pin[0] != model} | {(model, newest)}
            self._failures.pop(model, None)
            error = await self._take(model, (await self._store.releases())[model])
            try:
                await self._loaded(model, newest)
                await self._reload_changed(model)
            except CasebookError as newest_error:
                error = error or newest_error.message
            if self._options.load_all_versions:
                await self._load_all()
            self._retire_unwanted()
        await self._changed()
        if error:
            raise FailedPrecondition(f"model {model}", error)

    async def unload_model(self, model: str, by: str) -> None:
        """Triton's `RepositoryModelUnload`: the model is not served by this replica until it is loaded again.

        Releases and other replicas stay as they are; what this replica acknowledges says that it does not serve it.
        Raises NotFound for an unknown model.
        """
        self._repository.model(model)
        why = f"it was unloaded on {self._options.replica} by {by}"
        async with self._lock:
            self._unloaded[model] = why
            self._pinned = {pin for pin in self._pinned if pin[0] != model}
            self._router.withdraw(model, why)
            self._retire_unwanted()
            await self._acknowledge(model, 0, why)
        await self._changed()

    async def index(self) -> list[IndexEntry]:
        """Every version in the repository, scanned anew."""
        models = await asyncio.to_thread(self._repository.scan)
        return [self._entry(model, version) for model in models.values() for version in model.versions]

    async def close(self) -> None:
        """Leaves the replicas, and unloads everything."""
        try:
            await self._store.leave(self._options.replica)
        except Unavailable as error:
            _log.warning("this replica counts for %.0f s more: %s", REPLICA_TTL_SECONDS, error)
        for served in list(self._router.served):
            self._retire(served)
        await asyncio.gather(*self._retiring)

    def _due(self, model: str, release: Release) -> bool:
        """Whether a release is to be taken now: it is new here, and is not waiting for its next try."""
        if model in self._unloaded:
            return False
        route = self._router.routes.get(model)
        if route is not None and (
            route.release.generation == release.generation or faults.ordered(Fault.WRONG_VERSION, model)
        ):
            return False
        failure = self._failures.get(model)
        return failure is None or failure.generation != release.generation or time.monotonic() >= failure.retry_at

    async def _take(self, model: str, release: Release) -> str:
        """Loads a release's versions and installs its route. Returns why that could not be done, "" when it was."""
        loaded: dict[str, ServedVersion] = {}
        errors: dict[str, str] = {}
        for version in sorted(release.versions, key=lambda v: v != release.stable):
            try:
                loaded[version] = await self._loaded(model, version)
            except CasebookError as error:
                errors[version] = error.message
        # A previous version that has gone is missed only by a rollback.
        errors.pop("" if release.previous == release.stable else release.previous, None)
        if not errors:
            self._failures.pop(model, None)
            self._install(release, loaded)
            await self._acknowledge(model, release.generation, "")
            return ""
        why = "; ".join(errors.values())
        before = self._router.routes.get(model)
        if before is None and release.stable in loaded:
            # Half a release is better than none: a replica that starts serves the stable version at least.
            self._install(replace(release, generation=0), loaded)
        elif before is None:
            self._router.withdraw(model, why)
        self._note_failure(model, release.generation, why)
        await self._acknowledge(model, before.release.generation if before else 0, why)
        return why

    def _install(self, release: Release, loaded: dict[str, ServedVersion]) -> None:
        canary, shadow = loaded.get(release.canary), loaded.get(release.shadow)
        self._router.install(Route(release, loaded[release.stable], canary, shadow))
        _log.info(
            "release taken",
            extra={"model": release.model, "generation": release.generation, "versions": sorted(loaded)},
        )

    def _note_failure(self, model: str, generation: int, why: str) -> None:
        pause, longest = RETRY_SECONDS
        before = self._failures.get(model)
        if before is not None and before.generation == generation:
            pause = min(before.pause_seconds * 2, longest)
        self._failures[model] = _Failure(generation, why, pause, time.monotonic() + pause)
        _log.error("a release can't be taken", extra={"model": model, "generation": generation, "reason": why})

    async def _acknowledge(self, model: str, generation: int, error: str) -> None:
        self._unsent[model] = Acknowledgement(self._options.replica, model, generation, error)
        await self._send_acknowledgements()

    async def _send_acknowledgements(self) -> None:
        """Sends what is still to be said; what can't be sent now goes with the next step."""
        for model, acknowledgement in tuple(self._unsent.items()):
            try:
                await self._store.acknowledge(acknowledgement)
            except Unavailable as error:
                _log.warning("a release is served and not acknowledged yet: %s", error)
                return
            self._unsent.pop(model, None)

    async def _changed(self) -> None:
        if self.ready:
            self._was_ready.set()
        await self._on_change()

    async def _loaded(self, model: str, version: str) -> ServedVersion:
        """A version ready to serve, its companions before it; what is here already stays as it is."""
        if version not in getattr(self._repository.models.get(model), "versions", ()):
            await asyncio.to_thread(self._repository.scan)
        for companion in self._repository.model(model).companions:
            if companion not in self._unloaded and self._here(companion, version) is None:
                await self._load(companion, version)
        return self._here(model, version) or await self._load(model, version)

    async def _load(self, model: str, version: str) -> ServedVersion:
        """Loads and warms a version, and puts it in the place of one of the same number, where there is one."""
        self._loading.add((model, version))
        try:
            files = await asyncio.to_thread(self._repository.fetch, model, version)
            served = ServedVersion(files, await self._executor.load(files), self._options.queue_limit)
        except CasebookError as error:
            self._load_errors[model, version] = error.message
            telemetry.loaded(model, version, ok=False)
            raise
        finally:
            self._loading.discard((model, version))
        self._load_errors.pop((model, version), None)
        telemetry.loaded(model, version, ok=True)
        before = self._here(model, version)
        self._router.add(served)
        if before is not None:
            self._replace(before, served)
        return served

    async def _reload_changed(self, model: str) -> None:
        """Loads those versions anew whose files have changed in the repository since they were loaded."""
        for served in [served for served in self._router.served if served.name == model]:
            if served.fingerprint != await asyncio.to_thread(self._repository.fingerprint, model, served.version):
                await self._load(model, served.version)

    def _here(self, model: str, version: str) -> ServedVersion | None:
        return next((s for s in self._router.served if (s.name, s.version) == (model, version)), None)

    def _replace(self, old: ServedVersion, new: ServedVersion) -> None:
        """The same version with other files: every route that held the old one holds the new one."""
        route = self._router.routes.get(old.name)
        if route is not None:
            stable, canary, shadow = (new if v is old else v for v in (route.stable, route.canary, route.shadow))
            self._router.install(Route(route.release, stable or old, canary, shadow))
        self._retire(old)

    async def _load_all(self) -> None:
        for model in self._repository.models.values():
            for version in model.versions if model.name not in self._unloaded else ():
                if self._here(model.name, version) is None and (model.name, version) not in self._load_errors:
                    try:
                        await self._loaded(model.name, version)
                    except CasebookError as error:
                        _log.error("a version can't be loaded: %s", error)

    def _wanted(self) -> set[tuple[str, str]]:
        """What must stay loaded: the versions of every route, their companions, and what was asked for by name."""
        wanted = set(self._pinned)
        known = self._repository.models
        for model, route in self._router.routes.items():
            wanted |= {(model, version) for version in route.release.versions}
        if self._options.load_all_versions:
            wanted |= {
                (model.name, version) for model in self._repository.models.values() for version in model.versions
            }
        for model, version in tuple(wanted):
            if model in known:
                wanted |= {(companion, version) for companion in known[model].companions}
        return {(model, version) for model, version in wanted if model not in self._unloaded}

    def _retire_unwanted(self) -> None:
        wanted = self._wanted()
        for served in list(self._router.served):
            if (served.name, served.version) not in wanted:
                self._retire(served)

    def _retire(self, served: ServedVersion) -> None:
        """Takes a version out of service at once, and unloads it when its calls have finished."""
        self._router.remove(served)
        task = asyncio.create_task(self._drain(served), name=f"retire {served.name} {served.version}")
        self._retiring[task] = (served.name, served.version)
        task.add_done_callback(self._retiring.pop)

    async def _drain(self, served: ServedVersion) -> None:
        if not await served.retire(self._options.drain_seconds):
            _log.warning("model %s version %s was unloaded with calls in it", served.name, served.version)

    def _entry(self, model: RepositoryModel, version: str) -> IndexEntry:
        key = (model.name, version)
        if key in self._loading:
            return IndexEntry(*key, "LOADING")
        if self._here(*key) is not None:
            return IndexEntry(*key, "READY")
        if key in self._retiring.values():
            return IndexEntry(*key, "UNLOADING")
        reason = self._unloaded.get(model.name) or self._load_errors.get(key) or model.error
        return IndexEntry(*key, "UNAVAILABLE", reason or "no release names it")
