"""The front of the mock broker: it passes Kafka's requests on, and refuses what the mock would lose.

It gives the mock what it lacks: a port that can be chosen, and a limit that is told. A refused produce request is
answered with POLICY_VIOLATION, which no client retries by itself, for every partition of the request.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from kafka.protocol.consumer import FetchRequest, OffsetCommitRequest, OffsetCommitResponse
from kafka.protocol.producer import ProduceRequest, ProduceResponse

from chassis import logs, telemetry
from cli.kafka_budget import Budget

_PRODUCE, _FETCH, _OFFSET_COMMIT = ProduceRequest.API_KEY, FetchRequest.API_KEY, OffsetCommitRequest.API_KEY
_POLICY_VIOLATION = 44
_MAX_FRAME_BYTES = 16 * 1024 * 1024
_SETTLE_SECONDS = 5.0

_log = logs.logger(__name__)
_refused = telemetry.meter(__name__).create_counter(
    "casebook.embedded.kafka.refused", description="Produce requests refused because the mock would drop unread events"
)

# A request's place in the order of answers: the answer itself where it was refused, else what to do with the mock's.
_Expected = bytes | Callable[[bytes], None]


class Front:
    """Accepts clients and connects each to the mock."""

    def __init__(self, mock: tuple[str, int], budget: Budget) -> None:
        self._mock = mock
        self._budget = budget
        self._numbers = itertools.count()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one client until either side closes."""
        mock_reader, mock_writer = await asyncio.open_connection(*self._mock)
        name = f"connection-{next(self._numbers)}"
        await _Connection(name, self._budget, (reader, writer), (mock_reader, mock_writer)).run()


class _Connection:
    def __init__(
        self,
        name: str,
        budget: Budget,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        mock: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._name = name
        self._budget = budget
        self._client_reader, self._client = client
        self._mock_reader, self._mock = mock
        self._expected: deque[_Expected] = deque()
        self._client_gone = False

    async def run(self) -> None:
        requests = asyncio.create_task(self._requests())
        responses = asyncio.create_task(self._responses())
        try:
            await asyncio.wait({requests, responses}, return_when=asyncio.FIRST_COMPLETED)
            self._client_gone = True
            if self._expected:
                # What was passed on is still entered in the books. What stays unanswered stays reserved, for good.
                await asyncio.wait({responses}, timeout=_SETTLE_SECONDS)
        finally:
            for task in (requests, responses):
                task.cancel()
            for outcome in await asyncio.gather(requests, responses, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, EOFError | ConnectionError):
                    _log.error("a connection failed", connection=self._name, exc_info=outcome)
            self._budget.forget(self._name)
            self._client.close()
            self._mock.close()

    async def _requests(self) -> None:
        while True:
            frame = await _read_frame(self._client_reader)
            expected = self._inspect(frame)
            self._expected.append(expected)
            if isinstance(expected, bytes):
                self._answer_refused()
            else:
                self._mock.write(_framed(frame))
                await self._mock.drain()

    async def _responses(self) -> None:
        while not (self._client_gone and not self._expected):
            frame = await _read_frame(self._mock_reader)
            expected = self._expected.popleft()
            assert not isinstance(expected, bytes), "refusals are answered as soon as they are first in the order"
            expected(frame)
            if not self._client.is_closing():
                self._client.write(_framed(frame))
                await self._client.drain()
            self._answer_refused()

    def _answer_refused(self) -> None:
        """Answers the refused requests before which nothing is awaited any more: clients rely on the order."""
        while self._expected and isinstance(self._expected[0], bytes):
            self._client.write(_framed(self._expected.popleft()))  # type: ignore[arg-type]

    def _inspect(self, frame: bytes) -> _Expected:
        api_key, version = struct.unpack_from(">hh", frame)
        if api_key == _PRODUCE:
            return self._inspect_produce(ProduceRequest.decode(frame, version=version, header=True))
        if api_key == _FETCH:
            self._note_positions(FetchRequest.decode(frame, version=version, header=True))
        if api_key == _OFFSET_COMMIT:
            return self._inspect_commit(OffsetCommitRequest.decode(frame, version=version, header=True))
        return _nothing

    def _inspect_produce(self, request: Any) -> _Expected:
        if request.acks == 0:
            raise ConnectionAbortedError("acks=0 could not be told of a refusal")
        reserved: list[tuple[str, int, int]] = []
        for topic in request.topic_data:
            for partition in topic.partition_data:
                size = len(partition.records or b"")
                if not self._budget.books(topic.name, partition.index).reserve(size):
                    for name, index, earlier in reserved:
                        self._budget.books(name, index).released(earlier)
                    return self._refusal(request, topic.name, partition.index)
                reserved.append((topic.name, partition.index, size))
        return lambda frame: self._enter(ProduceResponse.decode(frame, version=request.version, header=True), reserved)

    def _enter(self, response: Any, reserved: list[tuple[str, int, int]]) -> None:
        outcomes = {
            (topic.name, partition.index): partition
            for topic in response.responses
            for partition in topic.partition_responses
        }
        for name, index, size in reserved:
            outcome = outcomes[name, index]
            if outcome.error_code == 0:
                self._budget.books(name, index).appended(size, outcome.base_offset)
            else:
                self._budget.books(name, index).released(size)

    def _refusal(self, request: Any, topic: str, partition: int) -> bytes:
        books = self._budget.books(topic, partition)
        slowest = min(books.readers.items(), key=lambda reader: reader[1], default=("nobody reads it", 0))
        _refused.add(1, {"topic": topic})
        _log.warning(
            "refused: the mock broker would drop unread events",
            topic=topic,
            partition=partition,
            held_bytes=books.held_bytes,
            slowest_reader=slowest[0],
            its_offset=slowest[1],
        )
        answer = ProduceResponse(
            version=request.version,
            responses=[
                ProduceResponse.TopicProduceResponse(
                    version=request.version,
                    name=name.name,
                    partition_responses=[
                        ProduceResponse.TopicProduceResponse.PartitionProduceResponse(
                            version=request.version,
                            index=item.index,
                            error_code=_POLICY_VIOLATION,
                            base_offset=-1,
                        )
                        for item in name.partition_data
                    ],
                )
                for name in request.topic_data
            ],
        )
        answer.with_header(correlation_id=request.header.correlation_id)
        return bytes(answer.encode(header=True))

    def _note_positions(self, request: Any) -> None:
        for topic in request.topics:
            for partition in topic.partitions:
                self._budget.books(topic.topic, partition.partition).readers[self._name] = partition.fetch_offset

    def _inspect_commit(self, request: Any) -> _Expected:
        committed = {
            (topic.name, partition.partition_index): partition.committed_offset
            for topic in request.topics
            for partition in topic.partitions
        }

        def note(frame: bytes) -> None:
            response = OffsetCommitResponse.decode(frame, version=request.version, header=True)
            for topic in response.topics:
                for partition in topic.partitions:
                    if partition.error_code == 0:
                        books = self._budget.books(topic.name, partition.partition_index)
                        books.readers[request.group_id] = committed[topic.name, partition.partition_index]

        return note


def _nothing(_frame: bytes) -> None:
    """The answer to a request that the books have nothing to do with."""


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    if not 0 <= size <= _MAX_FRAME_BYTES:
        raise ConnectionAbortedError(f"a frame of {size} bytes; the limit is {_MAX_FRAME_BYTES}")
    return await reader.readexactly(size)


def _framed(frame: bytes) -> bytes:
    return struct.pack(">i", len(frame)) + frame
