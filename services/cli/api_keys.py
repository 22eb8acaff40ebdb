"""`casebook keys` and `casebook audit`: the first API key, and what an administrator asks the gateway for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.errors import CommandError
from cli.home import Home


def first(home: Home) -> str:
    """The administrator's key that the first start has left in the data folder. Raises CommandError without it."""
    if not home.api_key_file.exists():
        raise CommandError(f"{home.api_key_file} is missing: give an administrator's key (or CASEBOOK_API_KEY)")
    return home.api_key_file.read_text("ascii").strip()


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who asks the gateway, for the tenant of the key. Every method raises CommandError with the gateway's words."""

    gateway: str
    key: str

    @classmethod
    def of(cls, home: Home, gateway: str, admin_key: str) -> "Administrator":
        """Without `admin_key`, the one that the first start has left in the data folder. Raises CommandError."""
        if not gateway:
            raise CommandError("nothing runs in the data folder: give the API's --gateway (or CASEBOOK_GATEWAY)")
        return cls(gateway, admin_key or first(home))

    def create(self, principal: str, roles: Sequence[str], expires_in_days: int | None) -> str:
        """A new key of the administrator's own tenant."""
        body = {"principal": principal, "roles": list(roles), "expires_in_days": expires_in_days}
        return str(self._ask("POST", "/v1/keys", body)["key"])

    def rotate(self, key_id: str, grace_seconds: int, expires_in_days: int | None) -> str:
        """A new key in place of another, which works until the grace time is over."""
        body = {"grace_seconds": grace_seconds, "expires_in_days": expires_in_days}
        return str(self._ask("POST", f"/v1/keys/{key_id}:rotate", body)["key"])

    def revoke(self, key_id: str, grace_seconds: int) -> None:
        """Ends a key, at once or after a grace time."""
        self._ask("DELETE", f"/v1/keys/{key_id}?grace_seconds={grace_seconds}")

    def show_keys(self, console: Console) -> None:
        """The tenant's keys, newest first."""
        table = Table("key", "principal", "roles", "created", "by", "expires", "revoked", box=None)
        for key in self._ask("GET", "/v1/keys")["keys"]:
            roles = " ".join(key["roles"])
            created, expires, revoked = (_time(key[name]) for name in ("created_at", "expires_at", "revoked_at"))
            table.add_row(key["key_id"], key["principal"], roles, created, key["created_by"], expires, revoked)
        console.print(table)

    def show_audit(self, limit: int, console: Console) -> None:
        """What was asked for of keys and releases, newest first."""
        table = Table("when", "who", "key", "what", "outcome", "request", "trace", box=None)
        for record in self._ask("GET", f"/v1/audit?limit={limit}")["records"]:
            what = f"{record['method']} {record['path']}"
            outcome = f"{record['status'] or 'unknown'} {record['note']}".strip()
            when = _time(record["called_at"])
            table.add_row(
                when, record["principal"], record["key_id"], what, outcome, record["request"], record["trace_id"]
            )
        console.print(table)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            answer = httpx.request(method, f"{self.gateway}{path}", json=body, headers=headers, timeout=10.0)
        except httpx.HTTPError as error:
            raise CommandError(f"{self.gateway}: {error}") from error
        if answer.is_error:
            raise CommandError(f"{self.gateway} answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None


def _time(text: str | None) -> str:
    return (text or "")[:19].replace("T", " ")
