"""The API over HTTPS with a certificate from files, and a renewed one without a restart."""

import asyncio
import ssl

import httpx
import pytest
from structlog.testing import capture_logs

from gateway import server as gateway_server
from gateway.server import HttpServer
from gateway.settings import GatewaySettings
from tests.fixtures.certificates import Authority, shown_at
from tests.fixtures.inference import until


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["scheme"].encode()})


@pytest.fixture
async def served(tmp_path, monkeypatch):
    monkeypatch.setattr(gateway_server, "RENEWAL_SECONDS", 0.05)
    authority = Authority(tmp_path)
    files = authority.issue("gateway", "127.0.0.1")
    settings = GatewaySettings(
        http_listen="127.0.0.1:0",
        http_tls_cert_file=str(files.certificate),
        http_tls_key_file=str(files.key),
        drain_notice_seconds=0,
    )
    server = HttpServer(hello, settings)
    server.start()
    following = asyncio.create_task(server.follow_certificate())
    yield authority, server.port
    following.cancel()
    await server.drain()


async def test_who_trusts_the_authority_is_served_and_others_do_not_talk_to_it(served):
    authority, port = served
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=authority.file)) as client:
        answer = await client.get(f"https://127.0.0.1:{port}/")
    async with httpx.AsyncClient() as stranger:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await stranger.get(f"https://127.0.0.1:{port}/")

    assert (answer.status_code, answer.text) == (200, "https")


async def test_half_of_a_renewal_leaves_the_certificate_before(served):
    authority, port = served
    before = await asyncio.to_thread(shown_at, port)
    old_key = authority.issue("other").key.read_bytes()

    with capture_logs() as logged:
        authority.issue("gateway", "127.0.0.1").key.write_bytes(old_key)

        async def refused():
            return any("not a pair" in line.get("why", "") for line in logged)

        await until("the half to be refused", refused)

    assert await asyncio.to_thread(shown_at, port) == before


async def test_a_renewed_certificate_is_shown_without_a_restart(served):
    authority, port = served
    before = await asyncio.to_thread(shown_at, port)

    authority.issue("gateway", "127.0.0.1")

    async def renewed():
        return await asyncio.to_thread(shown_at, port) != before

    await until("the renewed certificate", renewed)
