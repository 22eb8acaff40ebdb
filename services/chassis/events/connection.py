"""How every Kafka client of a process is set up, and what a client's failure means to the caller."""

import threading
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from chassis import logs
from chassis.retries import Retries
from chassis.settings import Settings

_log = logs.logger(__name__)

BOOTSTRAP_SECONDS = 10.0
"""How long a new client looks for a broker before it gives up and is tried again."""

FETCH_WAIT_MS = 100
"""How long a broker may hold back an empty answer to a fetch. Kafka answers as soon as an event comes; librdkafka's
mock cluster does not, so there this is the longest that the first event after a pause waits (500 by default)."""


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
        "security_protocol": settings.kafka_security_protocol,
        "ssl_cafile": settings.kafka_ca_file or None,
        "ssl_certfile": settings.kafka_cert_file or None,
        "ssl_keyfile": settings.kafka_key_file or None,
        "sasl_mechanism": settings.kafka_sasl_mechanism or None,
        "sasl_plain_username": settings.kafka_username or None,
        "sasl_plain_password": settings.kafka_password.get_secret_value() or None,
    }


def connect_consumer(stop: threading.Event, *topics: str, **options: Any) -> KafkaConsumer | None:
    """A consumer, once a broker answers: who starts before Kafka waits for it. None where `stop` came first."""
    attempts = 0
    while not stop.is_set():
        try:
            # kafka-python's own metrics cost time on every record and go nowhere; ours are in metrics.py.
            return KafkaConsumer(*topics, **options, fetch_max_wait_ms=FETCH_WAIT_MS, metrics_enabled=False)
        except KafkaError as error:
            attempts += 1
            _log.warning("no broker answers yet", brokers=options["bootstrap_servers"], why=str(error))
            stop.wait(Retries().delay(attempts))
    return None
