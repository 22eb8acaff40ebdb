"""TLS from files: what the gRPC server and its clients show and accept. Renewed files are taken up without a restart.

A certificate is renewed by writing its files anew, which is what cert-manager and its like do. The server looks at them
before each handshake, a client at its next call once a minute is over (chassis/rpc/client.py). A connection that stands
keeps what it began with.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from chassis import logs
from chassis.settings import Settings

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Pem:
    """What three files held when they were read; empty where there is no such file."""

    authority: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def read(cls, authority: str, certificate: str, key: str) -> "Pem":
        """Reads the files. Raises OSError."""
        return cls(*(Path(file).read_bytes() if file else b"" for file in (authority, certificate, key)))


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """What the gRPC server shows, and whom it lets in; None for plain text."""
    if not settings.tls_cert_file:
        return None
    files = (settings.tls_client_ca_file, settings.tls_cert_file, settings.tls_key_file)
    held = Pem.read(*files)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC before each handshake, on a thread of its own; None means that nothing has changed."""
        nonlocal held
        try:
            found = Pem.read(*files)
        except OSError as error:
            _log.error("the server's certificate cannot be read again: the one before stays", why=str(error))
            return None
        if found == held:
            return None
        held = found
        _log.info("the server's certificate has been renewed", file=settings.tls_cert_file)
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(held), renewed, require_client_authentication=bool(settings.tls_client_ca_file)
    )


def check_pair(certificate: str, key: str) -> None:
    """Raises OSError where the files are not a certificate and its key: while they are renewed, one is of before.

    gRPC's server looks for itself. A gRPC client and an `ssl.SSLContext` take half a pair, and can't connect with it.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise OSError(f"{certificate} and {key} are not a pair: {error.reason or error}") from None


def client_pem(settings: Settings) -> Pem:
    """What a client trusts and shows now. Raises OSError."""
    if settings.tls_client_cert_file:
        check_pair(settings.tls_client_cert_file, settings.tls_client_key_file)
    return Pem.read(settings.tls_ca_file, settings.tls_client_cert_file, settings.tls_client_key_file)


def channel_credentials(pem: Pem) -> grpc.ChannelCredentials:
    """The same for gRPC; without an authority the system's are trusted."""
    return grpc.ssl_channel_credentials(pem.authority or None, pem.key or None, pem.certificate or None)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.authority or None)
