"""The local overlay with TLS between the services: up from nothing, the walk, and nobody without a certificate."""

import pytest

from tests.cluster.walking import start, walk

pytestmark = [pytest.mark.timeout(900)]

COMPONENTS = ("network-policies", "pdb", "tls")
PROBE = """
import sys, grpc
from grpc_health.v1 import health_pb2 as pb, health_pb2_grpc as rpc
address, certificate = sys.argv[1:]
if certificate:
    files = [open(f"{certificate}/{name}", "rb").read() for name in ("ca.crt", "tls.key", "tls.crt")]
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(*files))
else:
    channel = grpc.insecure_channel(address)
try:
    print(rpc.HealthStub(channel).Check(pb.HealthCheckRequest(), timeout=5))
except grpc.RpcError as error:
    sys.exit(error.code().name)
"""
"""Asks a gRPC server whether it serves: with the certificate in a folder, or in plain text."""


@pytest.fixture(scope="module")
def system(cluster):
    """The local overlay with TLS, ready."""
    start(cluster, COMPONENTS)
    return cluster


def test_the_walk_passes(system, tmp_path):
    walk(system, tmp_path)


@pytest.mark.parametrize("server", ["recommender", "support", "inference"])
@pytest.mark.parametrize("certificate", ["/run/secrets/certificate", ""], ids=["with a certificate", "in plain text"])
def test_a_server_answers_whoever_shows_a_certificate(system, server, certificate):
    asked = ("exec", "deployment/gateway", "--", "python", "-c", PROBE, f"{server}:50051", certificate)

    said = system.run(*asked)

    assert (said.returncode == 0) is bool(certificate), said.stdout + said.stderr
    assert ("SERVING" if certificate else "UNAVAILABLE") in said.stdout + said.stderr
