"""`python -m inference serve | migrate`."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from casebook.oip.open_inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from casebook.releases.v1.releases_pb2_grpc import add_ReleaseServiceServicer_to_server
from chassis import process, processes
from chassis.identity import service_identity
from chassis.process import Process
from chassis.rpc import connect
from inference import release_service, service, telemetry
from inference.data_plane import DataPlane
from inference.executor import Executor
from inference.onnx_executor import OnnxExecutor, OnnxOptions
from inference.release_service import ReleaseService
from inference.releases import ReleaseStore
from inference.remote_executor import IDEMPOTENT, RemoteExecutor
from inference.repository import Repository
from inference.rollout import Rollout, RolloutOptions
from inference.router import Router
from inference.service import InferenceService
from inference.settings import InferenceSettings
from inference.store import MemoryReleaseStore, PostgresReleaseStore


async def serve(running: Process[InferenceSettings]) -> None:
    """Serves models, and follows their releases."""
    settings = running.settings
    cache = Path(settings.model_cache or tempfile.mkdtemp(prefix="casebook-models-"))
    repository = Repository(settings.model_repository, cache)
    executor, store, router = _executor(settings), _store(settings), Router()
    health = ModelHealth(running, router)
    options = RolloutOptions(
        replica=settings.instance,
        drain_seconds=settings.drain_seconds,
        queue_limit=settings.queue_limit,
        load_all_versions=settings.load_versions == "all",
    )
    rollout = Rollout(repository, executor, store, router, options, lambda: health.show(rollout))

    def register(server: grpc.aio.Server) -> None:
        add_GRPCInferenceServiceServicer_to_server(InferenceService(DataPlane(router), router, rollout), server)
        add_ReleaseServiceServicer_to_server(ReleaseService(store, repository), server)

    async def close() -> None:
        await rollout.close()
        await executor.close()
        await store.close()
        if not settings.model_cache:
            await asyncio.to_thread(shutil.rmtree, cache, ignore_errors=True)

    running.on_stop(close)
    telemetry.watch_served(router.snapshot, lambda: rollout.released)
    # Each model serves from when it is loaded, whatever becomes of the others.
    await running.serve_grpc(register, [service.SERVICE, release_service.SERVICE], while_starting=True)
    running.background(rollout.follow(), "releases")
    running.background(rollout.beat(), "heartbeat")
    await running.until_stopped()


class ModelHealth:
    """Shows in `grpc.health.v1`, under each model's name, whether it is served; and all of them in readiness."""

    def __init__(self, running: Process[InferenceSettings], router: Router) -> None:
        self._servicer = running.health
        self._check = running.readiness.add("models")
        self._router = router
        self._shown: set[str] = set()

    async def show(self, rollout: Rollout) -> None:
        """Says what is served now."""
        serving = set(self._router.routes)
        self._shown |= serving
        for model in self._shown:
            status = health_pb2.HealthCheckResponse.NOT_SERVING
            if model in serving:
                status = health_pb2.HealthCheckResponse.SERVING
            await self._servicer.set(model, status)
        self._check.set(rollout.ready, f"not loaded yet: {', '.join(rollout.missing) or 'any'}")


def _executor(settings: InferenceSettings) -> Executor:
    if settings.executor == "remote":
        channel = connect(settings.remote_address, settings, IDEMPOTENT, service_identity("inference"))
        return RemoteExecutor(channel, settings.remote_concurrency)
    return OnnxExecutor(
        OnnxOptions(
            provider=settings.provider,
            threads=settings.model_threads,
            instances=settings.model_instances,
            gpu_memory_limit_bytes=settings.gpu_memory_limit_bytes,
            inline_below_seconds=settings.inline_below_ms / 1e3,
        )
    )


def _store(settings: InferenceSettings) -> ReleaseStore:
    url = settings.database_url.get_secret_value()
    return PostgresReleaseStore(url) if url else MemoryReleaseStore()


if __name__ == "__main__":
    process.main("inference", InferenceSettings, {"serve": serve, "migrate": processes.migrate})
