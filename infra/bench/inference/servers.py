"""The servers: each in its own virtual environment and process tree, on ports of its own."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from chassis.identity import Identity, Role, TokenKeys

ADAPTERS = Path(__file__).parent / "adapters"
SERVICES = Path(__file__).parents[3] / "services"
READY_SECONDS = 60.0
KEYS = "bench:" + os.urandom(16).hex()

PACKAGES = {"mlserver": "mlserver==1.7.1", "pytriton": "nvidia-pytriton==0.7.0"}


@dataclass(frozen=True, slots=True)
class Running:
    """One server that answers."""

    name: str
    address: str
    process: subprocess.Popen[bytes]

    def tree(self) -> list[psutil.Process]:
        """The process and all that it started."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Processor time of the tree since it began."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.tree()))

    def memory_mib(self) -> float:
        """Resident memory of the tree, pages that its processes share counted once for each (RSS)."""
        return sum(process.memory_info().rss for process in self.tree()) / 2**20

    def proportional_memory_mib(self) -> float:
        """Resident memory of the tree, shared pages divided among those that share them (PSS)."""
        return sum(process.memory_full_info().pss for process in self.tree()) / 2**20


def metadata() -> tuple[tuple[str, str], ...]:
    """What every call carries; the other servers read over it."""
    identity = Identity("bench", "bench", frozenset({Role.VIEWER}))
    return (("authorization", f"Bearer {TokenKeys.parse(KEYS).sign(identity)}"),)


def start(names: list[str], repository: Path, build: Path) -> tuple[list[Running], dict[str, str]]:
    """Starts the named servers. Those that can't be installed or do not answer are left out, with the reason."""
    running, failed = [], {}
    for name in names:
        try:
            running.append(_start(name, repository.resolve(), build.resolve()))
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            failed[name] = str(error)
    return running, failed


def stop(running: list[Running]) -> None:
    """Ends them, and what they started."""
    for server in running:
        processes = server.tree() if server.process.poll() is None else []
        server.process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=20)
        for process in alive:
            process.kill()


def _start(name: str, repository: Path, build: Path) -> Running:
    ports = _free_ports(3)
    log = build / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command, environment, folder = SERVERS[name](repository, build, ports)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - fixed commands
            command, env={**os.environ, **environment}, cwd=folder, stdout=output, stderr=output
        )
    server = Running(name, f"127.0.0.1:{ports[0]}", process)
    try:
        _until_ready(server, log)
    except RuntimeError:
        stop([server])
        raise
    return server


Command = tuple[list[str], dict[str, str], Path]


def _casebook(repository: Path, build: Path, ports: list[int]) -> Command:
    environment = {
        "PYTHONPATH": str(SERVICES),
        "CASEBOOK_MODEL_REPOSITORY": str(repository),
        "CASEBOOK_GRPC_LISTEN": f"127.0.0.1:{ports[0]}",
        "CASEBOOK_OPS_LISTEN": f"127.0.0.1:{ports[1]}",
        "CASEBOOK_TOKEN_KEYS": KEYS,
    }
    return [sys.executable, "-m", "inference", "serve"], environment, build


def _mlserver(batching: bool) -> Callable[[Path, Path, list[int]], Command]:
    def command(repository: Path, build: Path, ports: list[int]) -> Command:
        python = _virtual_environment("mlserver", build)
        folder = Path(tempfile.mkdtemp(prefix="mlserver-", dir=build))
        environment = {
            "PYTHONPATH": str(ADAPTERS),
            "BENCH_REPOSITORY": str(repository),
            "BENCH_BATCHING": "1" if batching else "",
            "MLSERVER_GRPC_PORT": str(ports[0]),
            "MLSERVER_HTTP_PORT": str(ports[1]),
            "MLSERVER_METRICS_PORT": str(ports[2]),
            "MLSERVER_HOST": "127.0.0.1",
            # One process: with a pool of workers every call is pickled to another one, and costs more.
            "MLSERVER_PARALLEL_WORKERS": "0",
        }
        _run([str(python), str(ADAPTERS / "mlserver_settings.py"), str(folder)], environment)
        return [str(python.parent / "mlserver"), "start", str(folder)], environment, folder

    return command


def _triton(repository: Path, build: Path, ports: list[int]) -> Command:
    """The `tritonserver` out of the wheel with its Python backend, without pytriton's own proxy in between."""
    python = _virtual_environment("pytriton", build)
    [site_packages] = (python.parents[1] / "lib").glob("python*/site-packages")
    wheel = site_packages / "pytriton" / "tritonserver"
    folder = Path(tempfile.mkdtemp(prefix="triton-", dir=build))
    shutil.copytree(wheel / "backends", folder / "backends")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = "triton_python_backend_stub"
    shutil.copy(wheel / "python_backend_stubs" / version / stub, folder / "backends" / "python" / stub)
    # The stub is linked against libpython; a system's older one beside this Python's library ends in
    # "'_thread.RLock' object has no attribute '_recursion_count'".
    libraries = [str(sysconfig.get_config_var("LIBDIR")), str(site_packages / "nvidia_pytriton.libs")]
    environment = {
        "BENCH_REPOSITORY": str(repository),
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(site_packages),
    }
    _run([str(python), str(ADAPTERS / "triton_repository.py"), str(folder / "models")], environment)
    command = [str(wheel / "bin" / "tritonserver"), "--model-repository", str(folder / "models")]
    command += ["--backend-directory", str(folder / "backends")]
    for kind, port in zip(("grpc", "http", "metrics"), ports, strict=True):
        command += [f"--{kind}-port={port}", f"--{kind}-address=127.0.0.1"]
    return command, environment, folder


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=60)  # noqa: S603 - fixed commands


SERVERS: dict[str, Callable[[Path, Path, list[int]], Command]] = {
    "casebook": _casebook,
    "mlserver": _mlserver(batching=False),
    "mlserver-batching": _mlserver(batching=True),
    "triton-python": _triton,
}


def _virtual_environment(name: str, build: Path) -> Path:
    """The Python of a virtual environment that holds one server, ONNX Runtime, and nothing of ours."""
    folder = build / "venvs" / name
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise RuntimeError("uv is not installed, which makes the virtual environments of the peers")
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), PACKAGES[name], "onnxruntime"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"{PACKAGES[name]} can't be installed: {done.stderr.strip()[-500:]}")
    (folder / "ready").touch()
    return python


def _until_ready(server: Running, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    why = ""
    with grpc.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        while time.monotonic() < deadline:
            if server.process.poll() is not None:
                raise RuntimeError(f"{server.name} ended with status {server.process.returncode}: {_tail(log)}")
            try:
                for model in ("mlp", "minilm"):
                    request = oip.ModelReadyRequest(name=model)
                    if not stub.ModelReady(request, metadata=metadata(), timeout=5).ready:
                        why = f"{model} is not ready"
                        break
                else:
                    return
            except grpc.RpcError as error:
                why = error.details()
            time.sleep(0.1)
    raise RuntimeError(f"{server.name} was not ready within {READY_SECONDS:.0f} s: {why}; {_tail(log)}")


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-5:])


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports
