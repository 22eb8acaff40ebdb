"""`casebook models …`: the release router's control plane from the shell."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from rich.console import Console
from rich.table import Table

from casebook.releases.v1 import releases_pb2 as pb
from casebook.releases.v1.releases_pb2_grpc import ReleaseServiceStub
from chassis.errors import from_rpc_error
from chassis.identity import SYSTEM_TENANT, Identity, Role
from chassis.rpc import connect
from chassis.settings import Settings

A = TypeVar("A")


def show_models(address: str, settings: Settings, console: Console) -> None:
    """Every model with its versions and its release."""
    answer = ask(address, settings, lambda service: service.ListModels(pb.ListModelsRequest()))
    table = Table("model", "versions", "stable", "canary", "shadow", "previous", "complete", box=None)
    for model in answer.models:
        release = model.release
        canary = f"{release.canary} ({release.canary_share:.0%})" if release.canary else ""
        complete = "yes" if release.complete else "not yet: " + (_missing(release) or "no replica has answered")
        table.add_row(
            model.name, " ".join(model.versions), release.stable, canary, release.shadow, release.previous, complete
        )
    console.print(table)


def show_history(address: str, settings: Settings, model: str, limit: int, console: Console) -> None:
    """Who changed what, when; newest first."""
    request = pb.ListChangesRequest(model=model, limit=limit)
    answer = ask(address, settings, lambda service: service.ListChanges(request))
    table = Table("when", "model", "change", "stable", "canary", "shadow", "by", "reason", box=None)
    for change in answer.changes:
        after = change.after
        canary = f"{after.canary} ({after.canary_share:.0%})" if after.canary else ""
        when = change.changed_at.ToDatetime().isoformat(sep=" ", timespec="seconds")
        table.add_row(
            when, change.model, change.action, after.stable, canary, after.shadow, change.changed_by, change.reason
        )
    console.print(table)


def show_release(release: pb.Release, console: Console) -> None:
    """What a change has led to. It is complete when every ready replica serves it: `casebook models list` says so."""
    parts = [f"stable {release.stable}"]
    if release.canary:
        parts.append(f"canary {release.canary} with {release.canary_share:.0%} of the keys")
    if release.shadow:
        parts.append(f"shadow {release.shadow}")
    console.print(f"{release.model}: {', '.join(parts)} (generation {release.generation})")


def ask(address: str, settings: Settings, call: Callable[[ReleaseServiceStub], Awaitable[A]]) -> A:
    """One call to the release service, as an operator with the name of the machine's user.

    Raises:
        CasebookError: what the service answered, or that it does not.
    """
    operator = Identity(SYSTEM_TENANT, f"cli:{getpass.getuser()}", frozenset({Role.OPERATOR}))

    async def run() -> A:
        async with connect(address, settings, service_identity=operator) as channel:
            try:
                return await call(ReleaseServiceStub(channel))
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error

    return asyncio.run(run())


def _missing(release: pb.Release) -> str:
    return "; ".join(
        f"{replica.replica}: {replica.error or f'at generation {replica.generation}'}"
        for replica in release.replicas
        if replica.error or replica.generation < release.generation
    )
