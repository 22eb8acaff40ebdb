"""Releases of models."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from gateway.schemas.fields import Answer, Reason, Request

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}$", description="A version in the model repository.")]


class Promotion(Request):
    """The version that becomes stable."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "2", "reason": "CTR up 2 % in the canary"}]})

    version: Version
    reason: Reason = ""


class RollingBack(Request):
    """Why the model goes back."""

    reason: Reason = ""


class Canary(Request):
    """The version that gets a share of the traffic, sticky by key. Share 0 ends the canary."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "2", "share": 0.2, "reason": "try it"}]})

    version: Version
    share: float = Field(ge=0, le=1)
    reason: Reason = ""


class Shadow(Request):
    """The version that runs beside the stable one and never answers. Without a version the shadow ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "2"}]})

    version: Version | None = None
    reason: Reason = ""


class ReplicaState(Answer):
    """How far one replica of the model server is."""

    replica: str
    generation: int
    error: str
    """Why it could not take the generation; it goes on serving the one before."""
    seen_at: datetime | None


class Release(Answer):
    """Which version of a model answers."""

    model: str
    stable: str
    canary: str | None
    canary_share: float
    shadow: str | None
    previous: str | None
    generation: int
    """Grows by one with every change."""
    changed_at: datetime | None
    changed_by: str
    complete: bool
    """Every ready replica serves this generation."""
    replicas: list[ReplicaState]


class Model(Answer):
    """A model with its release and the versions in the repository."""

    name: str
    versions: list[str]
    release: Release


class Models(Answer):
    """Every model."""

    models: list[Model]


class Change(Answer):
    """One change of a release."""

    model: str
    action: str
    after: Release
    changed_by: str
    changed_at: datetime | None
    reason: str


class Changes(Answer):
    """Who changed what, when; newest first."""

    changes: list[Change]
