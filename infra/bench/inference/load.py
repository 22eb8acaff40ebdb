"""The client that all servers get: callers that each wait for one answer before the next call."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from casebook.oip import open_inference_pb2 as oip
from infra.bench.inference import models
from infra.bench.inference.servers import Running, metadata

CHANNELS = 4
"""Connections over which the callers are spread."""
DEADLINE_SECONDS = 10.0
SERVICE = "/inference.GRPCInferenceService"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One server under one kind of call. Bytes are sent and taken as they are: the client parses nothing."""

    server: str
    case: str
    concurrency: int
    calls: int
    p50_ms: float
    p99_ms: float
    calls_a_second: float
    cpu_seconds_a_thousand: float
    rss_mib: float
    pss_mib: float


async def check(server: Running, case: str, repository: Path) -> None:
    """Raises unless the server computes what a bare session does."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"{SERVICE}/ModelInfer")
        answer = oip.ModelInferResponse.FromString(
            await call(models.request(case), metadata=metadata(), timeout=DEADLINE_SECONDS)
        )
    [output] = answer.outputs
    if answer.raw_output_contents:
        received = np.frombuffer(answer.raw_output_contents[0], np.float32)
    else:
        received = np.array(output.contents.fp32_contents, np.float32)
    np.testing.assert_allclose(received, models.expected(repository, case).ravel(), rtol=1e-4, atol=1e-5)


async def measure(server: Running, case: str, concurrency: int, seconds: float, calls: int = 0) -> Measurement:
    """Calls for `seconds`, or until there were `calls`. The case "empty" is `ServerLive`, which computes nothing."""
    method, request = ("ServerLive", b"") if case == "empty" else ("ModelInfer", models.request(case))
    channels = [grpc.aio.insecure_channel(server.address) for _ in range(min(CHANNELS, concurrency))]
    methods = [channel.unary_unary(f"{SERVICE}/{method}") for channel in channels]
    for channel in channels:
        await channel.channel_ready()
    times: list[float] = []
    token = metadata()
    cpu, began = server.cpu_seconds(), time.perf_counter()
    ends_at = began + seconds

    async def caller(call: grpc.aio.UnaryUnaryMultiCallable) -> None:
        while time.perf_counter() < ends_at or len(times) < calls:
            sent = time.perf_counter()
            await call(request, metadata=token, timeout=DEADLINE_SECONDS)
            times.append(time.perf_counter() - sent)

    await asyncio.gather(*(caller(methods[number % len(methods)]) for number in range(concurrency)))
    elapsed, cpu = time.perf_counter() - began, server.cpu_seconds() - cpu
    rss, pss = server.memory_mib(), server.proportional_memory_mib()
    for channel in channels:
        await channel.close()
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    count = len(times)
    return Measurement(
        server.name, case, concurrency, count, float(p50), float(p99), count / elapsed, cpu / count * 1e3, rss, pss
    )
