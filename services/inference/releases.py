"""Releases: which version of a model is stable, canary and shadow, and what an operator may change of that."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from chassis.errors import FailedPrecondition, InvalidField

MAX_REASON_LENGTH = 500
REPLICA_TTL_SECONDS = 15.0
"""A replica that has not been seen for longer does not count any more."""

_NEVER = datetime.fromtimestamp(0, UTC)


class Action(StrEnum):
    """What was done to a release."""

    BOOTSTRAP = "bootstrap"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Release:
    """Which versions of one model serve. An empty version is none."""

    model: str
    stable: str
    canary: str = ""
    canary_share: float = 0.0
    shadow: str = ""
    previous: str = ""
    """What `rollback` puts back; kept loaded, so that it does so at once."""
    generation: int = 1
    changed_by: str = ""
    changed_at: datetime = _NEVER

    @property
    def versions(self) -> frozenset[str]:
        """Every version that the release needs loaded."""
        return frozenset({self.stable, self.canary, self.shadow, self.previous} - {""})


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the record: the release as it stood after a change."""

    action: Action
    after: Release
    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What one replica has made of one model's release."""

    replica: str
    model: str
    generation: int
    """The one that it serves; 0 for none."""
    error: str = ""
    """Why it does not serve a later one."""
    seen_at: datetime = field(default_factory=lambda: datetime.now(UTC))


Edit = Callable[[Release], Release]


def promote(version: str) -> Edit:
    """Makes `version` stable; the old stable becomes `previous`, and a canary or shadow of that version ends."""

    def edit(release: Release) -> Release:
        if version == release.stable:
            raise FailedPrecondition(f"model {release.model}", f"version {version} is stable already")
        edited = replace(release, stable=version, previous=release.stable)
        if release.canary == version:
            edited = replace(edited, canary="", canary_share=0.0)
        return replace(edited, shadow="") if release.shadow == version else edited

    return edit


def roll_back() -> Edit:
    """Ends a canary where there is one, else puts `previous` back as stable.

    There is then nothing more to roll back to: a second operator who does the same does not bring the bad version back.
    """

    def edit(release: Release) -> Release:
        if release.canary:
            return replace(release, canary="", canary_share=0.0)
        if not release.previous:
            raise FailedPrecondition(f"model {release.model}", "it has no canary and no previous version to go back to")
        return replace(release, stable=release.previous, previous="")

    return edit


def set_canary(version: str, share: float) -> Edit:
    """Sends `share` of the keys, in (0, 1], to `version`; a share of 0 ends the canary."""
    if not 0.0 <= share <= 1.0:
        raise InvalidField("share", "expected 0 to 1", share)
    if share > 0 and not version:
        raise InvalidField("version", "expected the version that gets the share")

    def edit(release: Release) -> Release:
        if share == 0:
            return replace(release, canary="", canary_share=0.0)
        if version == release.stable:
            raise FailedPrecondition(f"model {release.model}", f"version {version} is stable, so no canary")
        return replace(release, canary=version, canary_share=share)

    return edit


def set_shadow(version: str) -> Edit:
    """Runs `version` beside the stable one; an empty one ends that."""

    def edit(release: Release) -> Release:
        if version and version == release.stable:
            raise FailedPrecondition(f"model {release.model}", f"version {version} is stable, so no shadow")
        return replace(release, shadow=version)

    return edit


def checked_reason(reason: str) -> str:
    """The reason, if it is short enough for the record."""
    if len(reason) > MAX_REASON_LENGTH:
        raise InvalidField("reason", f"expected at most {MAX_REASON_LENGTH} characters", f"{len(reason)} characters")
    return reason


def changed(before: Release, edit: Edit, by: str, at: datetime) -> Release:
    """The release after `edit`, one generation on."""
    return replace(edit(before), generation=before.generation + 1, changed_by=by, changed_at=at)


def complete(release: Release, replicas: Sequence[Acknowledgement]) -> bool:
    """Whether every ready replica serves this generation; not when there is none."""
    return bool(replicas) and all(r.generation == release.generation and not r.error for r in replicas)


class ReleaseStore(Protocol):
    """Where releases are held, for all replicas together. Its failures are `Unavailable`."""

    async def bootstrap(self, versions: Mapping[str, str], by: str) -> None:
        """Gives each model that has no release yet the version named here as its stable one."""
        ...

    async def releases(self) -> dict[str, Release]:
        """Every model's release, by model."""
        ...

    async def change(self, model: str, action: Action, edit: Edit, by: str, reason: str) -> Release:
        """Edits one release and records it, as one step. Raises NotFound for a model without a release."""
        ...

    async def changes(self, model: str, limit: int) -> list[Change]:
        """The newest changes of a model, or of every model for "", newest first."""
        ...

    def watch(self) -> AsyncGenerator[None, None]:
        """Yields at once, then whenever a release may have changed. Ends only when it is cancelled."""
        ...

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Records what this replica has made of a release."""
        ...

    async def heartbeat(self, replica: str) -> None:
        """Says that this replica is ready, for `REPLICA_TTL_SECONDS`."""
        ...

    async def leave(self, replica: str) -> None:
        """Says that this replica counts no more."""
        ...

    async def replicas(self) -> dict[str, list[Acknowledgement]]:
        """What every ready replica has acknowledged, by model."""
        ...

    async def close(self) -> None:
        """Lets go of connections."""
        ...
