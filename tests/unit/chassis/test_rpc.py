"""What every call gets: identity, deadline, error mapping, trace; on a real server and a real channel."""

import asyncio
import contextlib

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from casebook.recommender.v1 import recommender_pb2 as pb
from casebook.recommender.v1 import recommender_pb2_grpc as rpc
from chassis.errors import InvalidField, NotFound, Unauthenticated, from_rpc_error
from chassis.identity import Identity, Role, TokenKeys, acting_as, current_identity
from chassis.rpc import connect, create_server, remaining_seconds
from chassis.rpc.deadline import deadline
from chassis.settings import Settings

KEYS = "k1:" + "s" * 32
ANNA = Identity("acme", "anna", frozenset({Role.VIEWER}))
GET_ITEM = "casebook.recommender.v1.RecommenderService/GetItem"


class Servicer(rpc.RecommenderServiceServicer):
    """Answers by what the item is called."""

    def __init__(self):
        self.seen = []
        self.connections = set()
        self.answer = None
        self.cancelled = asyncio.Event()

    async def GetItem(self, request, context):
        self.seen.append((current_identity(), remaining_seconds()))
        self.connections.add(context.peer())
        if request.item_id == "missing":
            raise NotFound("item", request.item_id)
        if request.item_id == "invalid":
            raise InvalidField("item_id", "must not be this", request.item_id)
        if request.item_id == "broken":
            raise ZeroDivisionError("secret internals")
        if request.item_id == "flaky" and len(self.seen) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
        if request.item_id == "slow":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        response = pb.GetItemResponse()
        response.item.item_id = request.item_id
        return response


@contextlib.asynccontextmanager
async def running(**changes):
    settings = Settings(token_keys=KEYS, grpc_listen="127.0.0.1:0", **changes)
    servicer = Servicer()
    server = create_server(settings, TokenKeys.parse(KEYS))
    rpc.add_RecommenderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}", settings, idempotent=[GET_ITEM]) as channel:
        yield servicer, rpc.RecommenderServiceStub(channel), port
    await server.stop(None)


async def test_the_callers_identity_arrives():
    async with running() as (servicer, stub, _):
        with acting_as(ANNA):
            await stub.GetItem(pb.GetItemRequest(item_id="1"))

    assert servicer.seen[0][0] == ANNA


async def test_a_call_without_a_token_is_refused():
    async with running() as (servicer, stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetItem(pb.GetItemRequest(item_id="1"))

    assert isinstance(from_rpc_error(refused.value), Unauthenticated)
    assert servicer.seen == []


async def test_a_call_with_a_forged_token_is_refused():
    forged = TokenKeys.parse("k1:" + "f" * 32).sign(ANNA)
    async with running() as (servicer, _, port), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpc.RecommenderServiceStub(channel).GetItem(
                pb.GetItemRequest(item_id="1"), metadata=[("authorization", f"Bearer {forged}")]
            )

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert servicer.seen == []


async def test_errors_arrive_as_their_class_with_details():
    async with running() as (_, stub, _):
        with acting_as(ANNA):
            with pytest.raises(grpc.aio.AioRpcError) as missing:
                await stub.GetItem(pb.GetItemRequest(item_id="missing"))
            with pytest.raises(grpc.aio.AioRpcError) as invalid:
                await stub.GetItem(pb.GetItemRequest(item_id="invalid"))

    assert from_rpc_error(missing.value).metadata == {"kind": "item", "id": "missing"}
    assert from_rpc_error(invalid.value).field == "item_id"


async def test_an_unexpected_error_shows_no_internals():
    async with running() as (_, stub, _):
        with acting_as(ANNA), pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetItem(pb.GetItemRequest(item_id="broken"))

    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in failed.value.details()


async def test_the_deadline_is_inherited_less_what_is_used_up():
    async with running() as (servicer, stub, _):
        with acting_as(ANNA), deadline(0.9):
            await stub.GetItem(pb.GetItemRequest(item_id="1"), timeout=3)

    assert 0 < servicer.seen[0][1] <= 0.9


async def test_a_call_without_a_deadline_gets_the_default_one_on_both_sides():
    token = TokenKeys.parse(KEYS).sign(ANNA)
    async with running(default_deadline_seconds=0.2) as (servicer, _, port):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as bare:
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await rpc.RecommenderServiceStub(bare).GetItem(
                    pb.GetItemRequest(item_id="slow"), metadata=[("authorization", f"Bearer {token}")]
                )
        await asyncio.wait_for(servicer.cancelled.wait(), 5)

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "gets 0.2 s" in late.value.details()


async def test_a_call_with_no_time_left_is_never_sent():
    async with running() as (servicer, stub, _):
        with acting_as(ANNA), deadline(0.0), pytest.raises(Exception, match="the deadline has passed"):
            await stub.GetItem(pb.GetItemRequest(item_id="1"))

    assert servicer.seen == []


async def test_the_servers_work_ends_when_the_client_gives_up():
    async with running() as (servicer, stub, _):
        with acting_as(ANNA):
            call = asyncio.ensure_future(stub.GetItem(pb.GetItemRequest(item_id="slow"), timeout=0.2))
            with pytest.raises(grpc.aio.AioRpcError):
                await call
        await asyncio.wait_for(servicer.cancelled.wait(), 5)


async def test_an_idempotent_call_is_tried_again():
    async with running() as (servicer, stub, _):
        with acting_as(ANNA):
            answer = await stub.GetItem(pb.GetItemRequest(item_id="flaky"))

    assert answer.item.item_id == "flaky"
    assert len(servicer.seen) == 3


async def test_another_call_is_sent_once():
    async with running() as (servicer, _, port):
        settings = Settings(token_keys=KEYS)
        async with connect(f"127.0.0.1:{port}", settings) as channel:
            with acting_as(ANNA), pytest.raises(grpc.aio.AioRpcError):
                await rpc.RecommenderServiceStub(channel).GetItem(pb.GetItemRequest(item_id="flaky"))

    assert len(servicer.seen) == 1


async def test_a_message_over_the_limit_is_refused():
    async with (
        running(max_message_bytes=1024) as (servicer, _, port),
        connect(f"127.0.0.1:{port}", Settings(token_keys=KEYS)) as channel,
    ):
        with acting_as(ANNA), pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpc.RecommenderServiceStub(channel).GetItem(pb.GetItemRequest(item_id="x" * 5000))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert servicer.seen == []


async def test_connections_are_renewed_and_no_call_fails_by_it():
    async with running(connection_age_seconds=1) as (servicer, stub, _), asyncio.timeout(20):
        with acting_as(ANNA):
            while len(servicer.connections) < 4:
                await asyncio.gather(*(stub.GetItem(pb.GetItemRequest(item_id="1")) for _ in range(8)))


@pytest.fixture
def spans(monkeypatch):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in ("client", "server"):
        monkeypatch.setattr(f"chassis.rpc.{module}._tracer", provider.get_tracer("test"))
    return exporter


async def test_client_and_server_span_are_one_trace(spans):
    async with running() as (_, stub, _):
        with acting_as(ANNA):
            await stub.GetItem(pb.GetItemRequest(item_id="1"))

    server, client = sorted(spans.get_finished_spans(), key=lambda span: span.kind is trace.SpanKind.CLIENT)
    assert server.parent.span_id == client.context.span_id
    assert server.context.trace_id == client.context.trace_id
