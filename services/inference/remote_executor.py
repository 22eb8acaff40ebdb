"""Any Open Inference Protocol server as the executor: NVIDIA Triton, KServe, or another `inference`.

The remote serves the same repository, with every version of it (Triton: `version_policy: { all {} }`; `inference`:
CASEBOOK_LOAD_VERSIONS=all). It batches; releases, canaries and shadows stay here. A version is not unloaded there when
it is let go of here, since other replicas may still use it.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import grpc

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from chassis.errors import CasebookError, NotFound, from_rpc_error
from inference.executor import LoadedModel, ModelError
from inference.repository import ModelFiles
from inference.tensors import BATCH_AXIS, DATATYPES, Array, Signature, TensorSpec, from_raw, to_raw

SERVICE = "inference.GRPCInferenceService"
IDEMPOTENT = [f"{SERVICE}/{method}" for method in ("ModelInfer", "ModelMetadata", "ModelReady")]
"""What may be sent again when a remote is not available: a model computes the same again."""

LOAD_SECONDS = 120.0
"""How long the remote may take to make a version ready."""
READY_POLL_SECONDS = 0.1


class RemoteExecutor:
    """Loads versions by asking the remote for them."""

    def __init__(self, channel: grpc.aio.Channel, slots: int) -> None:
        """`slots`: calls to one version that may be out at a time."""
        self._channel = channel
        self._stub = GRPCInferenceServiceStub(channel)
        self._slots = slots

    async def load(self, files: ModelFiles) -> LoadedModel:
        """Has the remote load the model unless it serves the version already, and reads what the version takes."""
        try:
            if not await self._ready(files):
                request = oip.RepositoryModelLoadRequest(model_name=files.model)
                await self._stub.RepositoryModelLoad(request, timeout=LOAD_SECONDS)
                await self._until_ready(files)
            metadata = await self._stub.ModelMetadata(
                oip.ModelMetadataRequest(name=files.model, version=files.version), timeout=READY_POLL_SECONDS * 50
            )
        except grpc.aio.AioRpcError as error:
            raise ModelError(files.model, files.version, f"the remote server: {error.details()}") from error
        except CasebookError as error:
            raise ModelError(files.model, files.version, f"the remote server: {error.message}") from error
        return RemoteModel(self._stub, files, _signature(metadata, files), metadata.platform, self._slots)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def _ready(self, files: ModelFiles) -> bool:
        request = oip.ModelReadyRequest(name=files.model, version=files.version)
        try:
            response = await self._stub.ModelReady(request)
        except grpc.aio.AioRpcError as error:
            if isinstance(from_rpc_error(error), NotFound):
                return False
            raise
        return bool(response.ready)

    async def _until_ready(self, files: ModelFiles) -> None:
        deadline = time.monotonic() + LOAD_SECONDS
        while not await self._ready(files):
            if time.monotonic() > deadline:
                why = f"the remote server has not made it ready in {LOAD_SECONDS:.0f} s; does it serve all versions?"
                raise ModelError(files.model, files.version, why)
            await asyncio.sleep(READY_POLL_SECONDS)


class RemoteModel:
    """One version on the remote."""

    batches = False

    def __init__(
        self, stub: GRPCInferenceServiceStub, files: ModelFiles, signature: Signature, platform: str, slots: int
    ) -> None:
        self.signature = signature
        self.platform = platform
        self.slots = slots
        self._stub = stub
        self._model, self._version = files.model, files.version

    async def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], deadline: float) -> list[Array]:
        """One call there, raw contents both ways, within what is left of the deadline."""
        request = oip.ModelInferRequest(model_name=self._model, model_version=self._version)
        for name, array in inputs.items():
            datatype = self.signature.input_specs[name].datatype
            request.inputs.add(name=name, datatype=datatype.name, shape=array.shape)
            request.raw_input_contents.append(to_raw(datatype, array))
        for name in outputs:
            request.outputs.add(name=name)
        try:
            response = await self._stub.ModelInfer(request, timeout=max(0.0, deadline - time.monotonic()))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return self._decoded(response, outputs)

    async def close(self) -> None:
        """The remote keeps it: other replicas may use it still."""

    def _decoded(self, response: oip.ModelInferResponse, outputs: Sequence[str]) -> list[Array]:
        by_name = {tensor.name: index for index, tensor in enumerate(response.outputs)}
        if not set(outputs) <= by_name.keys() or len(response.raw_output_contents) != len(response.outputs):
            raise ModelError(
                self._model, self._version, f"the remote server answered {list(by_name)}, not {list(outputs)}"
            )
        arrays = []
        for name in outputs:
            index = by_name[name]
            tensor = response.outputs[index]
            datatype = self.signature.output_specs[name].datatype
            raw = response.raw_output_contents[index]
            arrays.append(from_raw(f"outputs[{name!r}]", datatype, tuple(tensor.shape), raw))
        return arrays


def _signature(metadata: oip.ModelMetadataResponse, files: ModelFiles) -> Signature:
    def specs(tensors: Sequence[oip.ModelMetadataResponse.TensorMetadata]) -> tuple[TensorSpec, ...]:
        unknown = next((tensor for tensor in tensors if tensor.datatype not in DATATYPES), None)
        if unknown is not None:
            raise ModelError(files.model, files.version, f"tensor {unknown.name!r} has datatype {unknown.datatype!r}")
        return tuple(TensorSpec(t.name, DATATYPES[t.datatype], tuple(t.shape), symbols(t)) for t in tensors)

    def symbols(tensor: oip.ModelMetadataResponse.TensorMetadata) -> tuple[str, ...]:
        nameless = len(tensor.shape) - 1
        return (BATCH_AXIS, *[""] * nameless) if files.config.max_batch_size else ()

    return Signature(specs(metadata.inputs), specs(metadata.outputs), files.config.max_batch_size)
