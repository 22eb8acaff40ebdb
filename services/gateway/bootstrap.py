"""The first API key, which every other key is made with."""

import os
from pathlib import Path

from chassis.errors import FailedPrecondition
from chassis.identity import Identity, Role
from gateway.keys import ApiKey, Credential, KeyRing

PRINCIPAL = "bootstrap"


async def bootstrap(keys: KeyRing, path: Path, tenant: str) -> ApiKey:
    """The administrator's key that stands in `path`, written there first where the file is missing.

    The file comes before the row: whoever stops this between the two, or empties the database, finds the same key
    registered after the next run. Raises FailedPrecondition where the key in the file works no more.
    """
    credential = _read_or_write(path)
    owner = Identity(tenant, PRINCIPAL, frozenset({Role.ADMIN}))
    key = await keys.register(credential, owner, created_by=PRINCIPAL)
    if key.revoked_at is not None or key.secret_hash != credential.secret_hash:
        raise FailedPrecondition(f"the API key in {path}", "it has been revoked: remove the file to get another")
    return key


def _read_or_write(path: Path) -> Credential:
    if path.exists():
        return Credential.parse(path.read_text(encoding="ascii").strip())
    credential = Credential.new()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed: a file that is there is whole. Mode 0600 from its first moment on.
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{credential}\n")
    unfinished.replace(path)
    return credential
