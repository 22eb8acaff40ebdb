"""Releases of models."""

from casebook.releases.v1 import releases_pb2 as releases
from gateway.schemas import releases as schemas
from gateway.translation.scalars import time


def model(message: releases.Model) -> schemas.Model:
    """A model with its release."""
    return schemas.Model(name=message.name, versions=list(message.versions), release=release(message.release))


def release(message: releases.Release) -> schemas.Release:
    """Which version answers."""
    return schemas.Release(
        model=message.model,
        stable=message.stable,
        canary=message.canary or None,
        canary_share=message.canary_share,
        shadow=message.shadow or None,
        previous=message.previous or None,
        generation=message.generation,
        changed_at=time(message.changed_at) if message.HasField("changed_at") else None,
        changed_by=message.changed_by,
        complete=message.complete,
        replicas=[
            schemas.ReplicaState(
                replica=replica.replica,
                generation=replica.generation,
                error=replica.error,
                seen_at=time(replica.seen_at) if replica.HasField("seen_at") else None,
            )
            for replica in message.replicas
        ],
    )


def changes(response: releases.ListChangesResponse) -> schemas.Changes:
    """Who changed what, when; newest first."""
    return schemas.Changes(
        changes=[
            schemas.Change(
                model=change.model,
                action=change.action,
                after=release(change.after),
                changed_by=change.changed_by,
                changed_at=time(change.changed_at) if change.HasField("changed_at") else None,
                reason=change.reason,
            )
            for change in response.changes
        ]
    )
