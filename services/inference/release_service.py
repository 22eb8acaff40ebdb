"""The release servicer: which version of a model answers, and who changed that.

Reading needs the role `viewer`, a change `operator`.
"""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import grpc

from casebook.releases.v1 import releases_pb2 as pb
from casebook.releases.v1.releases_pb2_grpc import ReleaseServiceServicer
from chassis.errors import NotFound
from chassis.fields import page_size
from chassis.identity import Role, require
from inference import releases
from inference.releases import Acknowledgement, Action, Change, Edit, Release, ReleaseStore
from inference.repository import Repository, RepositoryModel

SERVICE = "casebook.releases.v1.ReleaseService"
DEFAULT_CHANGES, MAX_CHANGES = 50, 500

Context: TypeAlias = grpc.aio.ServicerContext


class ReleaseService(ReleaseServiceServicer):
    """Reads and edits the releases table; the replicas follow it by themselves."""

    def __init__(self, store: ReleaseStore, repository: Repository) -> None:
        self._store = store
        self._repository = repository

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Every model of the repository."""
        require(Role.VIEWER)
        models = await asyncio.to_thread(self._repository.scan)
        known, replicas = await self._store.releases(), await self._store.replicas()
        return pb.ListModelsResponse(
            models=[_model(model, known.get(name), replicas.get(name, [])) for name, model in models.items()]
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """One model of the repository. NOT_FOUND for another."""
        require(Role.VIEWER)
        await asyncio.to_thread(self._repository.scan)
        model = self._repository.model(request.model)
        known, replicas = await self._store.releases(), await self._store.replicas()
        return pb.GetModelResponse(model=_model(model, known.get(model.name), replicas.get(model.name, [])))

    async def Promote(self, request: pb.PromoteRequest, context: Context) -> pb.PromoteResponse:
        """Makes a version stable."""
        await self._check_version(request.model, request.version)
        edit = releases.promote(request.version)
        return pb.PromoteResponse(release=await self._change(request.model, Action.PROMOTE, edit, request.reason))

    async def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.RollbackResponse:
        """Ends the canary, else goes back to the previous version."""
        edit = releases.roll_back()
        return pb.RollbackResponse(release=await self._change(request.model, Action.ROLLBACK, edit, request.reason))

    async def SetCanary(self, request: pb.SetCanaryRequest, context: Context) -> pb.SetCanaryResponse:
        """Sends a share of the keys to a version."""
        edit = releases.set_canary(request.version, request.share)
        if request.share > 0:
            await self._check_version(request.model, request.version)
        return pb.SetCanaryResponse(release=await self._change(request.model, Action.CANARY, edit, request.reason))

    async def SetShadow(self, request: pb.SetShadowRequest, context: Context) -> pb.SetShadowResponse:
        """Runs a version beside the stable one."""
        if request.version:
            await self._check_version(request.model, request.version)
        edit = releases.set_shadow(request.version)
        return pb.SetShadowResponse(release=await self._change(request.model, Action.SHADOW, edit, request.reason))

    async def ListChanges(self, request: pb.ListChangesRequest, context: Context) -> pb.ListChangesResponse:
        """The record, newest first."""
        require(Role.VIEWER)
        limit = page_size("limit", request.limit, DEFAULT_CHANGES, MAX_CHANGES)
        changes = await self._store.changes(request.model, limit)
        return pb.ListChangesResponse(changes=[_change(change) for change in changes])

    async def _check_version(self, model: str, version: str) -> None:
        """Raises NotFound unless the repository has the version."""
        require(Role.OPERATOR)
        await asyncio.to_thread(self._repository.scan)
        versions = self._repository.model(model).versions
        if version not in versions:
            raise NotFound(f"version of model {model}", version, f"the repository has {', '.join(versions)}")

    async def _change(self, model: str, action: Action, edit: Edit, reason: str) -> pb.Release:
        operator = require(Role.OPERATOR)
        by = f"{operator.tenant}/{operator.principal}"
        after = await self._store.change(model, action, edit, by, releases.checked_reason(reason))
        return _release(after, (await self._store.replicas()).get(model, []))


def _model(model: RepositoryModel, release: Release | None, replicas: Sequence[Acknowledgement]) -> pb.Model:
    listed = pb.Model(name=model.name, versions=model.versions)
    if release is not None:
        listed.release.CopyFrom(_release(release, replicas))
    return listed


def _release(release: Release, replicas: Sequence[Acknowledgement] = ()) -> pb.Release:
    message = pb.Release(
        model=release.model,
        stable=release.stable,
        canary=release.canary,
        canary_share=release.canary_share,
        shadow=release.shadow,
        previous=release.previous,
        generation=release.generation,
        changed_by=release.changed_by,
        complete=releases.complete(release, replicas),
    )
    message.changed_at.FromDatetime(release.changed_at)
    for said in replicas:
        state = message.replicas.add(replica=said.replica, generation=said.generation, error=said.error)
        state.seen_at.FromDatetime(said.seen_at)
    return message


def _change(change: Change) -> pb.Change:
    message = pb.Change(
        model=change.after.model,
        action=change.action.value,
        after=_release(change.after),
        changed_by=change.after.changed_by,
        reason=change.reason,
    )
    message.changed_at.FromDatetime(change.after.changed_at)
    return message
