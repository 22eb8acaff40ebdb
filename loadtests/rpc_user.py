"""A service that calls another over gRPC, without the gateway; as Locust advises, an interceptor reports each call.

gRPC's C core waits outside of gevent's sight; `init_gevent()` lets it wait inside, and comes before the first channel.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.experimental.gevent as grpc_gevent
from locust import User

from chassis import tls
from chassis.identity import Identity, Role, TokenKeys
from chassis.settings import Settings, load
from loadtests.options import people

grpc_gevent.init_gevent()

DEADLINE_SECONDS = 5.0
SETTINGS = load(Settings)
"""The keys of the tokens, and TLS, by the variables that a service has."""
TOKEN_KEYS = SETTINGS.token_keys.get_secret_value()
TENANT = os.environ.get("CASEBOOK_LOAD_TENANT", "demo")


def address(variable: str) -> str:
    """Where a service is, "host:port"; empty where it or the keys that sign its tokens are not known."""
    return os.environ.get(variable, "") if TOKEN_KEYS else ""


class Reporting(grpc.UnaryUnaryClientInterceptor):
    """Gives each call its identity and a deadline, and tells Locust how long it took and how it ended."""

    def __init__(self, user: "RpcUser") -> None:
        self._user = user

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """The call, waited for: a user does one thing at a time."""
        started, start_time = time.perf_counter(), time.time()
        details = client_call_details._replace(
            timeout=client_call_details.timeout or DEADLINE_SECONDS,
            metadata=self._user.metadata(),
        )
        call = continuation(details, request)
        failure: BaseException | None = call.exception()
        self._user.environment.events.request.fire(
            request_type="gRPC",
            name=self._user.call_name(client_call_details.method, request),
            response_time=(time.perf_counter() - started) * 1000.0,
            response_length=0 if failure else call.result().ByteSize(),
            start_time=start_time,
            context={},
            response=None,
            exception=failure,
        )
        return call


class RpcUser(User):
    """Holds a channel of its own to `target`."""

    abstract = True
    target = ""

    def on_start(self) -> None:
        """Connects, and draws its own chance."""
        self.people = people(self.environment)
        self.chance = self.people.chance
        self.bare_channel = _connect(self.target)
        self.channel = grpc.intercept_channel(self.bare_channel, Reporting(self))
        self._keys = TokenKeys.parse(TOKEN_KEYS)
        self._identity = Identity(TENANT, "loadtests", frozenset({Role.VIEWER}))

    def on_stop(self) -> None:
        """Lets go of the channel."""
        self.bare_channel.close()

    def metadata(self) -> list[tuple[str, str]]:
        """Who calls, in a signed token; it is made anew when half of its five minutes are over."""
        return [("authorization", f"Bearer {self._keys.sign(self._identity)}")]

    def call_name(self, method: str, request: Any) -> str:
        """What a call is counted under: "RecommenderService/Recommend"."""
        return method.rpartition(".")[2]

    def call(self, method: Callable[[Any], Any], request: Any) -> Any:
        """The answer, None where the call failed (Locust has counted it)."""
        try:
            return method(request)
        except grpc.RpcError:
            return None


def _connect(target: str) -> grpc.Channel:
    # A subchannel pool of its own: gRPC would send all users of a process over one connection.
    options: list[tuple[str, int | str]] = [("grpc.use_local_subchannel_pool", 1)]
    if not SETTINGS.tls_ca_file:
        return grpc.insecure_channel(target, options)
    if SETTINGS.tls_server_name:
        options.append(("grpc.ssl_target_name_override", SETTINGS.tls_server_name))
    return grpc.secure_channel(target, tls.channel_credentials(tls.client_pem(SETTINGS)), options)
