"""The mock cluster of librdkafka, called through ctypes: the confluent-kafka wheel holds it but wraps none of it.

Declared in librdkafka's rdkafka_mock.h (experimental there: no promise of a stable interface).
"""

from __future__ import annotations

import ctypes
from typing import Any

_PRODUCER = 0
_GROUP_REBALANCE_DELAY_MS = 50


class MockCluster:
    """A one-broker Kafka in this process' memory. It lives as long as the process."""

    def __init__(self) -> None:
        self._library = _load()
        error = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        # It warns at its start that it has no server to connect to, which is meant to be so.
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"3", error, len(error))
        handle = self._library.rd_kafka_new(_PRODUCER, configuration, error, len(error))
        if not handle:
            raise RuntimeError(f"librdkafka: {error.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(handle, 1)
        # Waiting for more members before a group's first assignment: 3 s by default, seen as 3.1 s to join.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, _GROUP_REBALANCE_DELAY_MS)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which the broker listens; librdkafka chooses the port."""
        host, port = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode().rsplit(":", 1)
        return host, int(port)

    def advertise(self, host: str, port: int) -> None:
        """Tells clients to connect there: to the front that passes on to `address`."""
        self._library.rd_kafka_mock_broker_set_host_port(self._cluster, 1, host.encode(), port)

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic; one that is created by its first use has four partitions."""
        status = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if status != 0:
            raise RuntimeError(f"librdkafka: topic {name} was not created: error {status}")


def _load() -> Any:
    import confluent_kafka.cimpl

    # The extension module links to the wheel's librdkafka: its symbols are reachable through it.
    library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (
            ctypes.c_int,
            [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
        ),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, ctypes.c_int]),
        "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_topic_create": (ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
        "rd_kafka_mock_broker_set_host_port": (None, [pointer, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
