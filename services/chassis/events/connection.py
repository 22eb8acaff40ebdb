"""How every Kafka client of a process is set up, and what a client's failure means to the caller."""

from typing import Any

from chassis.settings import Settings

BOOTSTRAP_SECONDS = 10.0
"""How long a new client looks for a broker before it gives up and is tried again."""


def client_options(settings: Settings, purpose: str) -> dict[str, Any]:
    """Keyword arguments that kafka-python's clients share."""
    version = settings.kafka_api_version
    return {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "client_id": f"{purpose}@{settings.instance}",
        "api_version": tuple(int(part) for part in version.split(".")) if version else None,
        "bootstrap_timeout_ms": int(BOOTSTRAP_SECONDS * 1000),
        # A restarted broker is found again within two seconds, not thirty.
        "reconnect_backoff_max_ms": 2000,
        "metrics_enabled": False,  # the clients' own; ours are in metrics.py
    }
