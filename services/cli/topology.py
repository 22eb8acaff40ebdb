"""The embedded topology: every process, in the order in which data flows.

The services do not know that they are embedded: all that differs from a cluster are the addresses in their environment.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import databases
from cli.home import Home
from cli.postgres_server import SUPERUSER, postgres_server, postgres_url
from cli.processes import ProcessSpec, free_ports, http_ready
from cli.redis_server import redis_server, redis_url

CHECKOUT = Path(__file__).parents[2]
TENANT = "demo"
_PORTS = 32


@dataclass(frozen=True, slots=True)
class Topology:
    """What is to run, and where it can be reached then."""

    processes: tuple[ProcessSpec, ...]
    gateway: str
    """The API's address, http://host:port."""
    scrape_targets: tuple[dict[str, Any], ...]
    """Where /metrics is served, with the labels service and process, as Prometheus' `file_sd_configs` reads it."""
    addresses: dict[str, str]
    """Variables that let the operator's commands (`casebook models`, `dlq`, `topics`) and a load test find the running
    system; CASEBOOK_METRICS names each process's operators' port."""


def embedded(home: Home, data: Path, http_port: int) -> Topology:
    """All processes on this machine alone, on free ports but for `http_port`.

    `data` is the folder that holds MovieLens-100K, or will. PostgreSQL's data are initialised where they are missing.
    """
    ports = iter(port for port in free_ports(_PORTS) if port != http_port)
    redis, postgres, kafka, inference, recommender, support = (next(ports) for _ in range(6))
    postgres_address = f"127.0.0.1:{postgres}"
    redis_password, postgres_password = home.secret("redis"), home.secret("postgres")

    addresses = {
        "CASEBOOK_KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka}",
        "CASEBOOK_KAFKA_API_VERSION": "2.1",
        "CASEBOOK_INFERENCE_ADDRESS": f"127.0.0.1:{inference}",
        "CASEBOOK_RECOMMENDER_ADDRESS": f"127.0.0.1:{recommender}",
        "CASEBOOK_SUPPORT_ADDRESS": f"127.0.0.1:{support}",
        "CASEBOOK_GATEWAY": f"http://127.0.0.1:{http_port}",
        "CASEBOOK_REDIS_ADDRESS": f"127.0.0.1:{redis}",
    }
    everyone = addresses | {
        "CASEBOOK_ENVIRONMENT": "embedded",
        "CASEBOOK_REDIS_URL": redis_url(addresses["CASEBOOK_REDIS_ADDRESS"], redis_password),
        "CASEBOOK_TOKEN_KEYS": home.token_keys,
        "CASEBOOK_DRAIN_SECONDS": "5",
        "CASEBOOK_FAULTS": "true",
        # A container image or a shell may have it set: then each of a dozen processes compiles all that it imports, 5 s
        # in place of 1 (empty means unset).
        "PYTHONDONTWRITEBYTECODE": "",
        # Two cores, a dozen processes: numpy and FAISS on a thread a core in each would fight for them.
        "OMP_NUM_THREADS": "1",
    }

    def process(name: str, *depends_on: str, run: str = "", **settings: str | Path) -> ProcessSpec:
        """`python -m <service> <process>`, kept running; ready when its operators' port says so."""
        ops = next(ports)
        env = everyone | {
            "CASEBOOK_INSTANCE": name.replace(" ", "-"),
            "CASEBOOK_OPS_LISTEN": f"127.0.0.1:{ops}",
            "CASEBOOK_TRACE_FILE": str(home.folder("traces") / f"{name.replace(' ', '-')}.jsonl"),
        }
        env |= {f"CASEBOOK_{setting.upper()}": str(value) for setting, value in settings.items()}
        command = (sys.executable, "-m", *(run or name).split())
        return ProcessSpec(name, command, depends_on, env, ready=http_ready(ops), ready_within_seconds=120)

    def once(name: str, *depends_on: str, run: str = "", **settings: str | Path) -> ProcessSpec:
        """The same, run to its end."""
        server = process(name, *depends_on, run=run, **settings)
        return ProcessSpec(name, server.command, depends_on, server.env, ready_within_seconds=300)

    def database(service: str) -> dict[str, str]:
        its = databases.of(home, service)
        return {"database_url": postgres_url(postgres_address, its.service, its.service_password, its.name)}

    def owned(service: str) -> dict[str, str]:
        its = databases.of(home, service)
        return database(service) | {
            "database_owner_url": postgres_url(postgres_address, its.owner, its.owner_password, its.name)
        }

    superuser = postgres_url(postgres_address, SUPERUSER, postgres_password, "postgres")
    processes = (
        redis_server(home.folder("redis"), redis, redis_password),
        postgres_server(home.folder("postgres"), postgres, postgres_password),
        process(
            "kafka",
            run="cli.mock_kafka serve",
            kafka_listen=f"127.0.0.1:{kafka}",
            kafka_topics_file=CHECKOUT / "infra" / "kafka" / "topics.yaml",
        ),
        once("databases", "postgres", run="cli.databases create", home=home.path, superuser_url=superuser),
        once("inference migrate", "databases", **owned("inference")),
        process(
            "inference serve",
            "inference migrate",
            grpc_listen=f"127.0.0.1:{inference}",
            model_repository=home.folder("models"),
            model_cache=home.folder("model-cache"),
            **database("inference"),
        ),
        once("recommender migrate", "databases", **owned("recommender")),
        once(
            "recommender seed",
            *("recommender migrate", "redis", "kafka"),
            seed_data=data,
            seed_tenant=TENANT,
            **database("recommender"),
        ),
        process(
            "recommender serve",
            *("recommender seed", "inference serve", "redis", "kafka"),
            grpc_listen=f"127.0.0.1:{recommender}",
            **database("recommender"),
        ),
        process("recommender consume", "recommender seed", "redis", "kafka"),
        process("recommender relay", "recommender seed", "kafka", **database("recommender")),
        process("recommender sink", "kafka", sink_url=home.folder("sink")),
        once("support migrate", "databases", **owned("support")),
        once("support seed", "support migrate", seed_tenant=TENANT, **database("support")),
        process(
            "support serve",
            *("support seed", "inference serve", "redis", "kafka"),
            grpc_listen=f"127.0.0.1:{support}",
            model_repository=home.folder("models"),
            vector_cache=home.folder("vectors"),
            **database("support"),
        ),
        # Soon enough for who looks on: feedback has moved the curve some seconds later.
        process("support timers", "support serve", recalibrate_after_seconds="5", **database("support")),
        process("support relay", "support seed", "kafka", **database("support")),
        process("support consume", "support seed", "kafka", **database("support")),
        process("support sink", "kafka", sink_url=home.folder("sink")),
        once("gateway migrate", "databases", **owned("gateway")),
        once(
            "gateway bootstrap",
            "gateway migrate",
            bootstrap_key_file=home.api_key_file,
            bootstrap_tenant=TENANT,
            **database("gateway"),
        ),
        process(
            "gateway serve",
            *("gateway bootstrap", "recommender serve", "support serve", "inference serve", "redis", "kafka"),
            http_listen=f"127.0.0.1:{http_port}",
            **database("gateway"),
        ),
    )
    ours = [spec for spec in processes if "CASEBOOK_OPS_LISTEN" in spec.env and not spec.one_shot]
    addresses["CASEBOOK_METRICS"] = ",".join(f"{spec.name}={spec.env['CASEBOOK_OPS_LISTEN']}" for spec in ours)
    return Topology(processes, addresses["CASEBOOK_GATEWAY"], tuple(map(_scrape_target, ours)), addresses)


def _scrape_target(server: ProcessSpec) -> dict[str, Any]:
    service, _, process = server.name.partition(" ")
    labels = {"service": service, "process": process or "serve"}
    return {"targets": [server.env["CASEBOOK_OPS_LISTEN"]], "labels": labels}
