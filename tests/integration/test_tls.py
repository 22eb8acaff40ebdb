"""TLS between services: who shows the right certificate is served, and nobody else; certificates are renewed."""

import os
import subprocess
import sys
import urllib.request
from contextlib import asynccontextmanager

import grpc
import pytest

from casebook.recommender.v1 import recommender_pb2 as pb
from casebook.recommender.v1 import recommender_pb2_grpc as rpc
from chassis.identity import Identity, TokenKeys, acting_as
from chassis.rpc import client, connect, create_server, listen
from chassis.settings import Settings
from tests.fixtures.certificates import Authority, shown_at
from tests.fixtures.inference import KEYS as INFERENCE_KEYS
from tests.fixtures.inference import SERVICES, scale_model

KEYS = "k1:" + "s" * 32
ANNA = Identity("acme", "anna")


class Servicer(rpc.RecommenderServiceServicer):
    async def GetItem(self, request, context):
        return pb.GetItemResponse()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server_files(authority):
    return authority.issue("recommender", "recommender", "127.0.0.1")


@pytest.fixture
def client_files(authority):
    return authority.issue("gateway")


@asynccontextmanager
async def serving(authority, server_files, port=0, mutual=True):
    settings = Settings(
        grpc_listen=f"127.0.0.1:{port}",
        tls_cert_file=str(server_files.certificate),
        tls_key_file=str(server_files.key),
        tls_client_ca_file=str(authority.file) if mutual else "",
    )
    server = create_server(settings, TokenKeys.parse(KEYS))
    rpc.add_RecommenderServiceServicer_to_server(Servicer(), server)
    port = listen(server, settings)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


def calling(port, authority, files=None, **options):
    """A channel that trusts `authority` and shows `files`."""
    mine = {"tls_client_cert_file": str(files.certificate), "tls_client_key_file": str(files.key)} if files else {}
    return connect(f"127.0.0.1:{port}", Settings(token_keys=KEYS, tls_ca_file=str(authority.file), **mine, **options))


async def answer(channel, seconds=5.0):
    """What a call over the channel comes to."""
    try:
        with acting_as(ANNA):
            await rpc.RecommenderServiceStub(channel).GetItem(pb.GetItemRequest(item_id="1"), timeout=seconds)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_both_sides_show_a_certificate_of_the_authority(authority, server_files, client_files):
    async with serving(authority, server_files) as port, calling(port, authority, client_files) as channel:
        assert await answer(channel) is grpc.StatusCode.OK


async def test_server_that_asks_for_no_certificate_serves_who_has_none(authority, server_files):
    async with serving(authority, server_files, mutual=False) as port, calling(port, authority) as channel:
        assert await answer(channel) is grpc.StatusCode.OK


async def test_client_without_a_certificate_is_refused(authority, server_files):
    async with serving(authority, server_files) as port, calling(port, authority) as channel:
        assert await answer(channel) is grpc.StatusCode.UNAVAILABLE


async def test_client_of_another_authority_is_refused(authority, server_files, tmp_path):
    stranger = Authority(tmp_path, "other").issue("stranger")

    async with serving(authority, server_files) as port, calling(port, authority, stranger) as channel:
        assert await answer(channel) is grpc.StatusCode.UNAVAILABLE


async def test_server_of_another_authority_is_not_called(authority, server_files, client_files, tmp_path):
    other = Authority(tmp_path, "other")

    async with serving(authority, server_files) as port, calling(port, other, client_files) as channel:
        assert await answer(channel) is grpc.StatusCode.UNAVAILABLE


async def test_server_of_another_name_is_not_called_unless_it_is_the_expected_one(authority, client_files):
    elsewhere = authority.issue("inference")

    async with serving(authority, elsewhere) as port:
        async with calling(port, authority, client_files) as channel:
            assert await answer(channel) is grpc.StatusCode.UNAVAILABLE
        async with calling(port, authority, client_files, tls_server_name="inference") as channel:
            assert await answer(channel) is grpc.StatusCode.OK


async def test_client_in_plain_text_is_not_served(authority, server_files):
    settings = Settings(token_keys=KEYS)

    async with serving(authority, server_files) as port, connect(f"127.0.0.1:{port}", settings) as channel:
        assert await answer(channel) is grpc.StatusCode.UNAVAILABLE


async def test_server_shows_a_renewed_certificate_without_a_restart(authority, server_files, client_files):
    async with serving(authority, server_files, mutual=False) as port:
        before = shown_at(port)
        authority.issue("recommender", "recommender", "127.0.0.1")

        assert shown_at(port) != before
        async with calling(port, authority, client_files) as channel:
            assert await answer(channel) is grpc.StatusCode.OK


async def test_certificate_that_cannot_be_read_leaves_the_one_before(authority, server_files, client_files):
    async with serving(authority, server_files) as port:
        server_files.key.unlink()

        async with calling(port, authority, client_files) as channel:
            assert await answer(channel) is grpc.StatusCode.OK


async def test_client_takes_up_renewed_certificates(authority, server_files, client_files, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "RENEWAL_SECONDS", 0.0)
    new_authority = Authority(tmp_path, "new")
    async with serving(authority, server_files) as port:
        channel = calling(port, authority, client_files)
        stub = rpc.RecommenderServiceStub(channel)
        with acting_as(ANNA):
            await stub.GetItem(pb.GetItemRequest())
    authority.file.write_bytes(new_authority.file.read_bytes())
    new_authority.issue("gateway")
    new_authority.issue("recommender", "127.0.0.1")

    # Another server: over the connection that stood, the certificates of before would have gone on.
    async with serving(authority, server_files, port), channel:
        with acting_as(ANNA):
            assert await stub.GetItem(pb.GetItemRequest()) == pb.GetItemResponse()


async def test_half_of_a_renewal_leaves_the_client_with_what_it_had(authority, server_files, client_files, monkeypatch):
    monkeypatch.setattr(client, "RENEWAL_SECONDS", 0.0)
    async with serving(authority, server_files) as port, calling(port, authority, client_files) as channel:
        old_key = client_files.key.read_bytes()
        authority.issue("gateway")
        client_files.key.write_bytes(old_key)

        assert await answer(channel) is grpc.StatusCode.OK


def test_process_serves_its_probes_and_the_operators_command_over_tls(
    authority, server_files, client_files, models, start_inference
):
    models.put("scale", 1, scale_model(2))
    server = start_inference(
        models,
        tls_cert_file=server_files.certificate,
        tls_key_file=server_files.key,
        tls_client_ca_file=authority.file,
    )
    tls = {
        "CASEBOOK_TLS_CA_FILE": str(authority.file),
        "CASEBOOK_TLS_CLIENT_CERT_FILE": str(client_files.certificate),
        "CASEBOOK_TLS_CLIENT_KEY_FILE": str(client_files.key),
    }

    with urllib.request.urlopen(f"http://{server.ops}/readyz/scale", timeout=5) as probe:
        assert probe.status == 200
    listed, refused = (operators_command(server.address, environment) for environment in (tls, {}))

    assert (listed.returncode, listed.stdout.split()[7:9]) == (0, ["scale", "1"]), listed.stderr
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr


def operators_command(address, environment):
    command = [sys.executable, "-m", "cli", "models", "list", "--address", address]
    given = os.environ | {"PYTHONPATH": str(SERVICES), "CASEBOOK_TOKEN_KEYS": INFERENCE_KEYS} | environment
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=40, check=False)
