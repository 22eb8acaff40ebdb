"""The Open Inference Protocol servicer: proto in, a call to the domain, proto out."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias, cast

import grpc

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceServicer
from chassis.errors import InvalidField
from chassis.identity import Role, require
from chassis.rpc import remaining_seconds
from inference.data_plane import DataPlane
from inference.rollout import Rollout
from inference.router import Router
from inference.served import ServedVersion
from inference.telemetry import Duration, VersionStatistics
from inference.tensors import TensorSpec

SERVICE = "inference.GRPCInferenceService"
SERVER_NAME = "casebook-inference"
SERVER_VERSION = "0.1.0"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics", "casebook_releases")
"""What is served beyond the protocol's core. No streaming, sequences, classification, shared memory, trace, logging."""

Context: TypeAlias = grpc.aio.ServicerContext


class InferenceService(GRPCInferenceServiceServicer):
    """Any authenticated caller may infer and read; loading and unloading need the role `operator`."""

    def __init__(self, data_plane: DataPlane, router: Router, rollout: Rollout) -> None:
        self._data_plane = data_plane
        self._router = router
        self._rollout = rollout

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Context) -> oip.ServerLiveResponse:
        """It answers, so it lives."""
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Context) -> oip.ServerReadyResponse:
        """Whether every released model is loaded and warmed."""
        return oip.ServerReadyResponse(ready=self._rollout.ready)

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        """Whether a version, or the stable one, is loaded and warmed. NOT_FOUND for what the repository lacks."""
        return oip.ModelReadyResponse(ready=self._rollout.is_ready(request.name, request.version))

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Context) -> oip.ServerMetadataResponse:
        """Name, version, and what is served beyond the core."""
        return oip.ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Context) -> oip.ModelMetadataResponse:
        """What a version takes and gives; `versions` are those loaded."""
        served = self._router.choose(request.name, request.version)
        return oip.ModelMetadataResponse(
            name=served.name,
            versions=sorted(self._router.versions(served.name), key=int),
            platform=served.platform,
            inputs=[_tensor(spec) for spec in served.signature.inputs],
            outputs=[_tensor(spec) for spec in served.signature.outputs],
        )

    async def ModelInfer(self, request: oip.ModelInferRequest, context: Context) -> oip.ModelInferResponse:
        """One inference."""
        return await self._data_plane.infer(request, remaining_seconds())

    async def ModelConfig(self, request: oip.ModelConfigRequest, context: Context) -> oip.ModelConfigResponse:
        """The configuration in force, with what the model itself says where the file says nothing."""
        return oip.ModelConfigResponse(config=_completed(self._router.choose(request.name, request.version)))

    async def ModelStatistics(
        self, request: oip.ModelStatisticsRequest, context: Context
    ) -> oip.ModelStatisticsResponse:
        """Of one version, all versions of a model, or everything that is loaded; each since it was loaded."""
        if not request.name:
            served = list(self._router.served)
        elif request.version:
            served = [self._router.choose(request.name, request.version)]
        else:
            served = list(self._router.versions(request.name).values())
        return oip.ModelStatisticsResponse(model_stats=[_statistics(version.statistics) for version in served])

    async def RepositoryIndex(
        self, request: oip.RepositoryIndexRequest, context: Context
    ) -> oip.RepositoryIndexResponse:
        """Every version in the repository, whether it is ready here, and why not."""
        _only_repository(request.repository_name)
        entries = await self._rollout.index()
        return oip.RepositoryIndexResponse(
            models=[
                oip.RepositoryIndexResponse.ModelIndex(
                    name=entry.model, version=entry.version, state=entry.state, reason=entry.reason
                )
                for entry in entries
                if entry.state == "READY" or not request.ready
            ]
        )

    async def RepositoryModelLoad(
        self, request: oip.RepositoryModelLoadRequest, context: Context
    ) -> oip.RepositoryModelLoadResponse:
        """See `Rollout.load_model`. What has begun is finished even when the caller does not wait for it."""
        require(Role.OPERATOR)
        _only_repository(request.repository_name)
        for parameter in request.parameters:
            why = "not served: the repository says what a model is"
            raise InvalidField(f"parameters[{parameter!r}]", why)
        await asyncio.shield(asyncio.create_task(self._rollout.load_model(request.model_name)))
        return oip.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: oip.RepositoryModelUnloadRequest, context: Context
    ) -> oip.RepositoryModelUnloadResponse:
        """See `Rollout.unload_model`. Models here have no dependents, so the parameter for them changes nothing."""
        operator = require(Role.OPERATOR)
        _only_repository(request.repository_name)
        await asyncio.shield(asyncio.create_task(self._rollout.unload_model(request.model_name, by=operator.principal)))
        return oip.RepositoryModelUnloadResponse()


def _only_repository(name: str) -> None:
    if name:
        raise InvalidField("repository_name", "there is one repository, leave this empty", name)


def _tensor(spec: TensorSpec) -> oip.ModelMetadataResponse.TensorMetadata:
    return oip.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype.name, shape=spec.shape)


def _completed(served: ServedVersion) -> oip.ModelConfig:
    config = oip.ModelConfig()
    config.CopyFrom(served.config)
    config.platform = config.platform or served.platform
    first = 1 if config.max_batch_size else 0
    if not config.input:
        config.input.extend(
            oip.ModelInput(name=spec.name, data_type=_config_type(spec), dims=spec.shape[first:])
            for spec in served.signature.inputs
        )
    if not config.output:
        config.output.extend(
            oip.ModelOutput(name=spec.name, data_type=_config_type(spec), dims=spec.shape[first:])
            for spec in served.signature.outputs
        )
    return config


def _config_type(spec: TensorSpec) -> oip.DataType:
    return cast("oip.DataType", spec.datatype.config)


def _statistics(kept: VersionStatistics) -> oip.ModelStatistics:
    return oip.ModelStatistics(
        name=kept.model,
        version=kept.version,
        last_inference=kept.last_inference_ms,
        inference_count=kept.rows,
        execution_count=kept.executions,
        inference_stats=oip.InferStatistics(
            success=_duration(kept.success),
            fail=_duration(kept.fail),
            queue=_duration(kept.queue),
            compute_input=_duration(kept.compute_input),
            compute_infer=_duration(kept.compute_infer),
            compute_output=_duration(kept.compute_output),
        ),
        batch_stats=_batch_statistics(kept),
    )


def _batch_statistics(kept: VersionStatistics) -> Sequence[oip.InferBatchStatistics]:
    return [
        oip.InferBatchStatistics(batch_size=rows, compute_infer=_duration(duration))
        for rows, duration in sorted(kept.batches.items())
    ]


def _duration(kept: Duration) -> oip.StatisticDuration:
    return oip.StatisticDuration(count=kept.count, ns=kept.ns)
