"""Certificates in Kubernetes: what overlays/local draws and the component tls mounts lets services call one another."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import yaml

from casebook.recommender.v1 import recommender_pb2 as pb
from casebook.recommender.v1 import recommender_pb2_grpc as rpc
from chassis.identity import Identity, TokenKeys, acting_as
from chassis.rpc import connect, create_server, listen
from chassis.settings import Settings, load
from tests.fixtures.kubernetes import manifests

CHECKOUT = Path(__file__).parents[2]
COMPONENTS = ("load", "tls")


class Servicer(rpc.RecommenderServiceServicer):
    async def Recommend(self, request, context):
        return pb.RecommendResponse()

    async def GetHistory(self, request, context):
        return pb.GetHistoryResponse()


@dataclass(frozen=True)
class Pods:
    """What is applied, and where the secrets lie that a cluster would mount."""

    objects: tuple[dict, ...]
    folder: Path

    def environment(self, kind, name):
        """A container's CASEBOOK_* variables, with its secrets as files below `folder`."""
        pod = self._named(kind, name)["spec"]["template"]["spec"]
        container = pod["containers"][0]
        written = {volume["name"]: self._write(volume, self.folder / name) for volume in pod["volumes"]}
        folders = {mount["mountPath"]: written[mount["name"]] for mount in container["volumeMounts"]}
        values = {}
        for source in container["envFrom"]:
            values |= self._named("ConfigMap", source["configMapRef"]["name"])["data"]
        values |= {variable["name"]: variable["value"] for variable in container.get("env", ())}
        for variable, value in values.items():
            folder, _, file = value.rpartition("/")
            if folder in folders:
                values[variable] = f"{folders[folder]}/{file}"
        return values

    def _write(self, volume, parent):
        folder = parent / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        sources = [volume] if "secret" in volume else volume.get("projected", {}).get("sources", ())
        for source in sources:
            secret = source["secret"].get("secretName") or source["secret"]["name"]
            for key, value in self._named("Secret", secret)["data"].items():
                (folder / key).write_bytes(base64.b64decode(value))
        return folder

    def _named(self, kind, name):
        [found] = [each for each in self.objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        return found


@pytest.fixture(scope="module")
def pods(tmp_path_factory):
    rendered = manifests("overlays/local", COMPONENTS)
    return Pods(tuple(yaml.load_all(rendered, yaml.CSafeLoader)), tmp_path_factory.mktemp("pods"))


@pytest.fixture
def settings(pods, monkeypatch):
    """What a process reads of its container's environment."""

    def read(name, **more):
        with monkeypatch.context() as patched:
            for variable, value in (pods.environment("Deployment", name) | more).items():
                patched.setenv(variable, value)
            return load(Settings)

    return read


@asynccontextmanager
async def serving(settings):
    server = create_server(settings, TokenKeys.parse(settings.token_keys.get_secret_value()))
    rpc.add_RecommenderServiceServicer_to_server(Servicer(), server)
    port = listen(server, settings)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def outcome(port, settings):
    """What a call comes to."""
    async with connect(f"127.0.0.1:{port}", settings) as channel:
        try:
            with acting_as(Identity("acme", "anna")):
                await rpc.RecommenderServiceStub(channel).GetHistory(pb.GetHistoryRequest(user_id="1"), timeout=5)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("server", "client"),
    [
        ("recommender", "gateway"),
        ("support", "gateway"),
        ("inference", "gateway"),
        ("inference", "recommender"),
        ("inference", "support"),
        ("support", "support-timers"),
    ],
)
async def test_a_service_calls_another_by_its_name(settings, server, client):
    async with serving(settings(server, CASEBOOK_GRPC_LISTEN="127.0.0.1:0")) as port:
        assert await outcome(port, settings(client, CASEBOOK_TLS_SERVER_NAME=server)) == grpc.StatusCode.OK


async def test_a_service_that_answers_under_anothers_name_is_not_believed(settings):
    async with serving(settings("inference", CASEBOOK_GRPC_LISTEN="127.0.0.1:0")) as port:
        told = settings("gateway", CASEBOOK_TLS_SERVER_NAME="recommender")

        assert await outcome(port, told) == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("trusts", [True, False], ids=["without a certificate", "in plain text"])
async def test_whoever_shows_no_certificate_is_refused(settings, trusts):
    server = settings("recommender", CASEBOOK_GRPC_LISTEN="127.0.0.1:0")
    stranger = Settings(
        token_keys=server.token_keys,
        tls_ca_file=server.tls_client_ca_file if trusts else "",
        tls_server_name="recommender",
    )

    async with serving(server) as port:
        assert await outcome(port, stranger) == grpc.StatusCode.UNAVAILABLE


async def test_locust_calls_as_a_service_does(settings, pods, tmp_path):
    summary = tmp_path / "summary.json"
    async with serving(settings("recommender", CASEBOOK_GRPC_LISTEN="127.0.0.1:0")) as port:
        environment = os.environ | pods.environment("Job", "load") | {
            "CASEBOOK_RECOMMENDER_ADDRESS": f"127.0.0.1:{port}",
            "CASEBOOK_TLS_SERVER_NAME": "recommender",
            "CASEBOOK_METRICS": "",
            "PYTHONPATH": f"{CHECKOUT / 'services'}{os.pathsep}{CHECKOUT}",
        }  # fmt: skip
        command = [sys.executable, "-m", "locust", "-f", str(CHECKOUT / "loadtests" / "locustfile.py"), "--headless"]
        command += ["-u", "1", "-t", "5s", "--only-summary", "--summary", str(summary), "RecommenderCaller"]
        locust = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(locust.communicate(), 50)

    found = json.loads(summary.read_text())
    assert found["failures"] == {}, said.decode()
    assert sum(each["requests"] for each in found["slos"]) > 0, said.decode()
