"""The release router: which loaded version answers a call."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from chassis.errors import NotFound, Unavailable
from inference.releases import Release
from inference.served import ServedVersion
from inference.telemetry import ServedNow


@dataclass(frozen=True, slots=True)
class Route:
    """A release with its versions loaded. A new one takes the old one's place in one step."""

    release: Release
    stable: ServedVersion
    canary: ServedVersion | None = None
    shadow: ServedVersion | None = None


class Router:
    """Routes by model. It only chooses; `rollout.py` loads versions and puts them here."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._versions: dict[str, dict[str, ServedVersion]] = {}
        self._absent: dict[str, str] = {}

    def choose(self, model: str, version: str = "", request_key: str = "") -> ServedVersion:
        """The version that answers: the one named, else canary or stable.

        A key always gets the same answer while a canary lasts, and keeps it when its share grows. A call without a key
        gets the stable version. Raises NotFound for what is not here, Unavailable for a model that is not ready.
        """
        if version:
            return self._named(model, version)
        route = self.route(model)
        if route.canary is not None and request_key:
            position = position_of(model, route.canary.version, request_key)
            if position < route.release.canary_share:
                return route.canary
        return route.stable

    def route(self, model: str) -> Route:
        """A model's route. Raises NotFound, or Unavailable with the reason."""
        route = self._routes.get(model)
        if route is None:
            raise self._missing(model)
        return route

    def shadow_of(self, answered: ServedVersion) -> ServedVersion | None:
        """The version to compare with, when `answered` is its model's stable one."""
        route = self._routes.get(answered.name)
        return route.shadow if route is not None and route.stable is answered else None

    def versions(self, model: str) -> dict[str, ServedVersion]:
        """Every loaded version of a model, by number. Raises like `route`."""
        versions = self._versions.get(model)
        if not versions:
            raise self._missing(model)
        return versions

    @property
    def served(self) -> Iterator[ServedVersion]:
        """Every loaded version of every model."""
        for versions in list(self._versions.values()):
            yield from list(versions.values())

    @property
    def routes(self) -> dict[str, Route]:
        """Every model's route."""
        return self._routes

    def snapshot(self) -> list[ServedNow]:
        """What is loaded, in which role, for the gauges."""
        return [self._now(served) for served in self.served]

    def add(self, served: ServedVersion) -> None:
        """Makes a version answer calls that name it."""
        self._versions.setdefault(served.name, {})[served.version] = served

    def remove(self, served: ServedVersion) -> None:
        """Sends it no further calls."""
        if self._versions.get(served.name, {}).get(served.version) is served:
            del self._versions[served.name][served.version]

    def install(self, route: Route) -> None:
        """Answers calls to the model by this route from now on."""
        self._absent.pop(route.release.model, None)
        self._routes[route.release.model] = route

    def withdraw(self, model: str, why: str) -> None:
        """Answers calls to the model with Unavailable and the reason."""
        self._routes.pop(model, None)
        self._absent[model] = why

    def _named(self, model: str, version: str) -> ServedVersion:
        versions = self.versions(model)
        served = versions.get(version)
        if served is None:
            raise NotFound(f"loaded version of model {model}", version, f"loaded are {', '.join(versions)}")
        return served

    def _missing(self, model: str) -> NotFound | Unavailable:
        if model in self._absent:
            return Unavailable(f"model {model}", self._absent[model])
        return NotFound("model", model)

    def _now(self, served: ServedVersion) -> ServedNow:
        route = self._routes.get(served.name)
        role = "explicit"
        if route is not None:
            roles = {route.stable: "stable", route.canary: "canary", route.shadow: "shadow"}
            role = roles.get(served, role)
        generation = route.release.generation if route is not None else 0
        return ServedNow(served.name, served.version, role, served.waiting, generation)


def position_of(model: str, version: str, request_key: str) -> float:
    """Where a key stands in [0, 1): the same on every replica, and another order of keys for every canary."""
    digest = hashlib.blake2b(f"{model}\0{version}\0{request_key}".encode(), digest_size=8).digest()
    # 53 bits, so that the quotient is exact and below 1.
    return (int.from_bytes(digest) >> 11) / 2**53
