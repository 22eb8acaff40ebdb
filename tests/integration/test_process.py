"""A process of a service from the outside: it starts, says that it is ready, and drains without losing a call."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from casebook.recommender.v1 import recommender_pb2 as pb
from casebook.recommender.v1 import recommender_pb2_grpc as rpc
from chassis.identity import Identity, acting_as
from chassis.rpc import connect
from chassis.settings import Settings

KEYS = "k1:" + "s" * 32

SERVICE = """
import asyncio
from casebook.recommender.v1 import recommender_pb2 as pb, recommender_pb2_grpc as rpc
from chassis import process, settings

class Servicer(rpc.RecommenderServiceServicer):
    def __init__(self, process):
        self.process = process

    async def GetItem(self, request, context):
        if request.item_id == "slow":
            await self.process.stopping.wait()
        return pb.GetItemResponse()

async def serve(process):
    model = process.readiness.add("model")
    name = "casebook.recommender.v1.RecommenderService"
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(10, lambda: model.set(True))
    loop.add_signal_handler(1, lambda: model.set(False, "it is away"))
    async def fail():
        raise RuntimeError("a background task broke")
    loop.add_signal_handler(12, lambda: process.background(fail(), "fragile"))
    servicer = Servicer(process)
    await process.serve_grpc(lambda server: rpc.add_RecommenderServiceServicer_to_server(servicer, server), [name])
    async def said():
        print("callback ran", flush=True)
    process.on_stop(said)
    await process.until_stopped()

process.main("example", settings.Settings, {"serve": serve})
"""


async def until(what, condition, seconds=15.0):
    """Polls `condition` until it is true; fails with `what` was waited for and the last state seen."""
    state = None
    async with asyncio.timeout(seconds + 1):
        ends_at = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < ends_at:
            state = await condition()
            if state is True:
                return
            await asyncio.sleep(0.02)
    pytest.fail(f"waited {seconds} s for {what}; last seen: {state}")


class Running:
    def __init__(self, tmp_path: Path, unused_tcp_port_factory, **environment):
        self.grpc, self.ops = (f"127.0.0.1:{unused_tcp_port_factory()}" for _ in range(2))
        script = tmp_path / "example.py"
        script.write_text(SERVICE)
        self.log = (tmp_path / "log").open("w+")
        self.child = subprocess.Popen(
            [sys.executable, script, "serve"],
            stdout=self.log,
            stderr=self.log,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2] / "services"),
                "CASEBOOK_GRPC_LISTEN": self.grpc,
                "CASEBOOK_OPS_LISTEN": self.ops,
                "CASEBOOK_TOKEN_KEYS": KEYS,
                "CASEBOOK_TRACE_FILE": str(tmp_path / "traces.jsonl"),
                **environment,
            },
        )

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.ops}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    async def health(self, service=""):
        async with grpc.aio.insecure_channel(self.grpc) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(service=service), timeout=2
                )
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    async def is_live(self):
        """Its operators' port answers, and it has come as far as serving: its signal handlers are there."""
        status, _ = self.ask("/livez")
        health = await self.health()
        return (status == 200 and health in ("SERVING", "NOT_SERVING")) or (status, health)

    async def is_ready(self):
        status, body = self.ask("/readyz")
        return status == 200 or body

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read()


@pytest.fixture
def example(tmp_path, unused_tcp_port_factory):
    running = Running(tmp_path, unused_tcp_port_factory)
    yield running
    running.child.kill()
    running.child.wait(10)


async def test_it_is_not_ready_before_its_checks_hold(example):
    await until("the process to live", example.is_live)

    assert example.ask("/readyz") == (503, json.dumps({"ready": False, "reasons": {"model": "starting"}}))
    assert await example.health() == "NOT_SERVING"

    example.child.send_signal(signal.SIGUSR1)
    await until("the process to be ready", example.is_ready)
    assert await example.health() == "SERVING"
    assert await example.health("casebook.recommender.v1.RecommenderService") == "SERVING"
    assert example.ask("/readyz/casebook.recommender.v1.RecommenderService") == (200, json.dumps({"ready": True}))
    assert example.ask("/readyz/nobody")[0] == 404


async def test_before_it_is_ready_calls_are_refused_and_afterwards_never_for_that(example):
    await until("the process to live", example.is_live)
    async with connect(example.grpc, Settings(token_keys=KEYS)) as channel:
        stub = rpc.RecommenderServiceStub(channel)
        with acting_as(Identity("acme", "anna")):
            with pytest.raises(grpc.aio.AioRpcError, match="this replica is not available: it is starting") as error:
                await stub.GetItem(pb.GetItemRequest(item_id="1"))
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE

            example.child.send_signal(signal.SIGUSR1)
            await until("the process to be ready", example.is_ready)
            await stub.GetItem(pb.GetItemRequest(item_id="1"))

            example.child.send_signal(signal.SIGHUP)

            async def is_not_ready():
                return example.ask("/readyz")[0] == 503

            await until("the process to be ready no more", is_not_ready)
            await stub.GetItem(pb.GetItemRequest(item_id="1"))


async def test_it_drains_on_sigterm_and_finishes_what_is_in_flight(example, tmp_path):
    await until("the process to live", example.is_live)
    example.child.send_signal(signal.SIGUSR1)
    await until("the process to be ready", example.is_ready)
    async with connect(example.grpc, Settings(token_keys=KEYS)) as channel:
        stub = rpc.RecommenderServiceStub(channel)
        with acting_as(Identity("acme", "anna")):
            await stub.GetItem(pb.GetItemRequest(item_id="1"))
            slow = asyncio.ensure_future(stub.GetItem(pb.GetItemRequest(item_id="slow")))

            async def in_flight():
                lines = [
                    line
                    for line in example.ask("/metrics")[1].splitlines()
                    if line.startswith("casebook_rpc_server_in_flight") and 'method="GetItem"' in line
                ]
                return (bool(lines) and all(line.endswith(" 1.0") for line in lines)) or lines

            await until("the slow call to be in flight", in_flight)
            example.child.send_signal(signal.SIGTERM)
            assert await slow == pb.GetItemResponse()

    assert await asyncio.to_thread(example.child.wait, 15) == 0
    assert "callback ran" in example.output()
    spans = (tmp_path / "traces.jsonl").read_text()
    assert "RecommenderService/GetItem" in spans, "what was waiting to be exported is sent at the end"


async def test_a_broken_background_task_stops_the_process_with_status_1(example):
    await until("the process to live", example.is_live)
    example.child.send_signal(signal.SIGUSR2)

    assert await asyncio.to_thread(example.child.wait, 15) == 1
    assert "a background task broke" in example.output()


async def test_metrics_carry_service_method_and_code(example):
    await until("the process to live", example.is_live)
    example.child.send_signal(signal.SIGUSR1)
    await until("the process to be ready", example.is_ready)
    async with connect(example.grpc, Settings(token_keys=KEYS)) as channel:
        with acting_as(Identity("acme", "anna")):
            await rpc.RecommenderServiceStub(channel).GetItem(pb.GetItemRequest(item_id="1"))

    _, metrics = example.ask("/metrics")
    assert (
        'casebook_rpc_server_duration_seconds_count{code="OK",method="GetItem",'
        'rpc_service="casebook.recommender.v1.RecommenderService"} 1.0' in metrics
    )


async def test_logs_are_json_with_service_and_process(example):
    await until("the process to live", example.is_live)
    first = json.loads(example.output().splitlines()[0])

    assert (first["service"], first["process"], first["message"]) == ("example", "serve", "serving")


def test_a_wrong_setting_stops_it_with_one_line(tmp_path, unused_tcp_port_factory):
    running = Running(tmp_path, unused_tcp_port_factory, CASEBOOK_DRAIN_SECONDS="soon")

    assert running.child.wait(20) == 2
    assert running.output().startswith("CASEBOOK_DRAIN_SECONDS: ")
    assert len(running.output().splitlines()) == 1


def test_an_unknown_process_is_refused_with_the_names(tmp_path):
    script = tmp_path / "example.py"
    script.write_text(SERVICE)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "services")}
    ended = subprocess.run(
        [sys.executable, script, "dance"], capture_output=True, text=True, env=environment, timeout=30
    )

    assert ended.returncode == 2
    assert "one of: serve" in ended.stderr
