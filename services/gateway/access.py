"""Which role a route needs. The services check again: the gateway is the first to refuse, not the only one."""

from collections.abc import Awaitable, Callable

from fastapi import Depends, params

from chassis.identity import Role, require


def needs(role: Role) -> params.Depends:
    """A dependency that refuses whoever doesn't hold `role`."""

    async def check() -> None:
        require(role)

    checked: Callable[[], Awaitable[None]] = check
    dependency: params.Depends = Depends(checked)
    return dependency
