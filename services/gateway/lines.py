"""Files of JSON lines (https://jsonlines.org), read and written in parts, so that none is ever held whole.

A part is sent on as one call, which does all of it or nothing. Where one fails, those before it are done: the answer
says up to which line, and sending the file again is harmless.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc
from fastapi import Request
from pydantic import BaseModel, ValidationError

from chassis.errors import CasebookError, InvalidField
from gateway import problems
from gateway.edge import within
from gateway.problems import BodyTooLarge, UnsupportedMediaType
from gateway.schemas.support import Imported
from gateway.settings import GatewaySettings

MEDIA_TYPE = "application/x-ndjson"
MEDIA_TYPES = (MEDIA_TYPE, "application/jsonl")
MAX_PART_BYTES = 3_000_000
"""Of lines that go into one call: a gRPC message takes 4 MiB."""
_PLACE = re.compile(r"^\w+\[(\d+)\]")

L = TypeVar("L", bound=BaseModel)


class Counted(Protocol):
    """What a service answers about a part."""

    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Part(Generic[L]):
    """Some lines in their order, and which lines of the file they are."""

    numbers: Sequence[int]
    lines: Sequence[L]


class LineReader(Generic[L]):
    """A request's body, a part at a time."""

    def __init__(self, request: Request, model: type[L], most_lines: int, settings: GatewaySettings) -> None:
        """A part has at most `most_lines`. Raises UnsupportedMediaType."""
        content_type = request.headers.get("Content-Type", "")
        if content_type.partition(";")[0].strip().lower() not in MEDIA_TYPES:
            raise UnsupportedMediaType(content_type, " or ".join(MEDIA_TYPES))
        self.read = 0
        """Lines so far, empty ones too."""
        self._chunks = request.stream()
        self._model = model
        self._most_lines = most_lines
        self._most_line_bytes = settings.max_body_bytes
        self._most_bytes = settings.max_import_bytes
        self._bytes = 0
        self._rest = bytearray()
        self._ended = False
        self._next: bytes | None = None

    async def part(self) -> Part[L]:
        """The next lines; none at the end. Raises InvalidField, naming the line; BodyTooLarge."""
        numbers: list[int] = []
        lines: list[L] = []
        size = 0
        while len(lines) < self._most_lines and (line := await self._line()) is not None:
            if lines and size + len(line) > MAX_PART_BYTES:
                self._next = line
                break
            self.read += 1
            size += len(line)
            if line.strip():
                numbers.append(self.read)
                lines.append(_parsed(self._model, line, self.read))
        return Part(numbers, lines)

    async def _line(self) -> bytes | None:
        """The next line as it came; None at the end."""
        if self._next is not None:
            line, self._next = self._next, None
            return line
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0 and not self._ended:
            searched = len(self._rest)
            self._check_line(searched)
            await self._more()
        if end < 0 and not self._rest:
            return None
        line = bytes(self._rest[:end] if end >= 0 else self._rest)
        self._check_line(len(line))
        del self._rest[: len(line) + 1]
        return line

    async def _more(self) -> None:
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self._ended = True
            return
        self._bytes += len(chunk)
        if self._bytes > self._most_bytes:
            raise BodyTooLarge(self._most_bytes)
        self._rest += chunk

    def _check_line(self, size: int) -> None:
        if size > self._most_line_bytes:
            raise InvalidField(f"line {self.read + 1}", f"at most {self._most_line_bytes} bytes")


async def import_lines(
    reader: LineReader[L], seconds: float, send: Callable[[Sequence[L]], Awaitable[Counted]]
) -> Imported:
    """Sends a file on part by part, each within `seconds`. What fails is raised, with how far the file is in."""
    lines = changed = unchanged = done = 0
    while True:
        part: Part[L] = Part([], [])
        try:
            async with within(seconds, f"the lines from {done + 1} on"):
                part = await reader.part()
                if not part.lines:
                    return Imported(lines=lines, changed=changed, unchanged=unchanged)
                answer = await send(part.lines)
        except (CasebookError, grpc.RpcError) as error:
            raise _interrupted(error, part.numbers, done) from error
        lines += len(part.lines)
        changed, unchanged, done = changed + answer.changed, unchanged + answer.unchanged, reader.read


async def written(pages: AsyncIterator[Sequence[BaseModel]]) -> AsyncIterator[bytes]:
    """The lines of a file, a page at a time."""
    async for page in pages:
        yield b"".join(each.model_dump_json(exclude_none=True).encode() + b"\n" for each in page)


def _parsed(model: type[L], line: bytes, number: int) -> L:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(name) for name in first["loc"])
        received = None if first["type"] in ("missing", "json_invalid") else first["input"]
        raise InvalidField(f"line {number}{': ' if field else ''}{field}", first["msg"], received) from None


def _interrupted(error: CasebookError | grpc.RpcError, numbers: Sequence[int], done: int) -> CasebookError:
    """The error, with the place in the file in the stead of the one in the call, and what has been done before."""
    known = problems.from_rpc(error) if isinstance(error, grpc.RpcError) else error

    def line(place: re.Match[str]) -> str:
        index = int(place[1])
        return f"line {numbers[index]}" if index < len(numbers) else place[0]

    if isinstance(known, InvalidField):
        known.field = _PLACE.sub(line, known.field)
        known.message = _PLACE.sub(line, known.message)
    before = f"lines 1 to {done} are in" if done else "nothing of the file is in"
    known.message += f"; {before}: mend it and send it again, what is in already stays as it is"
    return known


def body_of(model: type[BaseModel], example: Mapping[str, Any]) -> dict[str, Any]:
    """For `openapi_extra`: a body of lines, each a `model`."""
    described = f"One JSON object a line: `{model.__name__}`. {(model.__doc__ or '').splitlines()[0]}"
    schema = {"type": "string", "description": described, "examples": [json.dumps(example, ensure_ascii=False) + "\n"]}
    return {
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
    }
