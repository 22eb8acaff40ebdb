"""`casebook keys`: the first API key, and asking the gateway for more."""

from collections.abc import Sequence

from cli.errors import CommandError
from cli.home import Home


def first(home: Home) -> str:
    """The administrator's key that the first start has left in the data folder. Raises CommandError without it."""
    if not home.api_key_file.exists():
        raise CommandError(f"{home.api_key_file} is missing: give an administrator's key (or CASEBOOK_API_KEY)")
    return home.api_key_file.read_text("ascii").strip()


def create(
    home: Home, gateway: str, admin_key: str, principal: str, roles: Sequence[str], expires_in_days: int | None
) -> str:
    """A new key of the administrator's own tenant.

    Without `gateway` and `admin_key`, those of the system that runs in the data folder.

    Raises:
        CommandError: nothing runs there, or the gateway refused; carries its words.
    """
    import httpx

    if not gateway:
        raise CommandError("nothing runs in the data folder: give the API's --gateway (or CASEBOOK_GATEWAY)")
    admin_key = admin_key or first(home)
    body = {"principal": principal, "roles": list(roles), "expires_in_days": expires_in_days}
    try:
        answer = httpx.post(
            f"{gateway}/v1/keys", json=body, headers={"Authorization": f"Bearer {admin_key}"}, timeout=10.0
        )
    except httpx.HTTPError as error:
        raise CommandError(f"{gateway}: {error}") from error
    if answer.is_error:
        raise CommandError(f"{gateway} answered {answer.status_code}: {answer.text}")
    key: str = answer.json()["key"]
    return key
