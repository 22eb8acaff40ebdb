"""Text to vectors through the model server, each phrasing once for as long as a model lives.

What an index is made of is cached on disk, by text and version of the model, so that a restart encodes nothing twice. A
question is not: it is asked once.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from chassis.models import Inferred, ModelClient
from encoders.text import Tokeniser
from support import metrics
from support.everyday import EVERYDAY
from support.knowledge import Language
from support.ports import DIMENSIONS, Float32Array, ModelUnavailable

MODELS: Mapping[Language, str] = {"en": "encoder_en", "zh": "encoder_zh"}
ROWS = 8
"""Phrasings in a call: as many a second as with 32, and a question waits a quarter as long behind it."""
CALLS = 2
"""For phrasings, at a time."""
LENGTHS_OF = 8
"""Calls have lengths that are multiples of this: then the model server joins questions of different customers."""
LONGEST_CALL_SECONDS = 5.0
"""How long a call may take. Whoever asks a question gives up earlier (retrieval.py); for phrasings nobody waits."""
SAME_MODEL = 0.98
"""The cosine of a text by one model at two times: 8-bit arithmetic on another machine has .99, another training
less."""

MOST_ADDED = 4_096
"""Records that are kept in memory beside the file; then it is read anew."""
LONGEST_WRITE_SECONDS = 5.0
"""Another process that holds the file for longer has stopped: then what is made now is not kept."""
LOCK_POLL_SECONDS = 0.01
PAUSE_SECONDS = 60.0
"""After a write that failed: else each step of a change would wait for the next one."""
MOST_RENEWALS = 20
"""How often a file may be replaced by another process while this one waits to write."""

_MAGIC = b"casebook vectors 1\n".ljust(32)
_RECORD = np.dtype([("key", "V32"), ("vector", "<f2", DIMENSIONS), ("crc", "<u4")])
_log = logging.getLogger(__name__)


class InferenceEncoder:
    """`ports.Encoder` over the Open Inference Protocol."""

    def __init__(self, models: ModelClient, tokenisers: Mapping[Language, Tokeniser], cache: "VectorCache") -> None:
        """`models` raises `ModelUnavailable`."""
        self._models = models
        self._tokenisers = tokenisers
        self._cache = cache
        self._calls = asyncio.Semaphore(CALLS)
        self._checked: set[str] = set()

    async def encode(
        self, texts: Sequence[str], language: Language, *, version: str = "", request_key: str = ""
    ) -> tuple[Float32Array, str]:
        """See `ports.Encoder`. A question of any version goes before phrasings, and past the cache."""
        answer = await self._call(texts, language, version, request_key)
        return answer.values, f"{MODELS[language]}/{answer.version}"

    async def phrasings(self, texts: Sequence[str], language: Language, version: str) -> Float32Array:
        """See `ports.Encoder`."""
        name = f"{MODELS[language]}/{version}"
        file = self._cache.of(name)
        if name not in self._checked:
            await self._check(file, language, version)
        vectors, missing = await asyncio.to_thread(file.get, texts)
        metrics.looked_up(name, kept=len(texts) - len(missing), made=len(missing))
        if len(missing):
            those = [texts[place] for place in missing.tolist()]
            vectors[missing] = await self._encoded(those, language, version, file)
        return vectors

    async def versions(self, language: Language) -> list[str]:
        """See `ports.Encoder`."""
        return await self._models.loaded_versions(MODELS[language])

    async def _check(self, file: "VectorFile", language: Language, version: str) -> None:
        """Empties the file where the model that has its name now is another one: trained again, or exchanged."""
        probe = list(EVERYDAY[language][:1])
        [now] = (await self._call(probe, language, version)).values
        kept, missing = await asyncio.to_thread(file.get, probe)
        if not len(missing) and float(kept[0] @ now) < SAME_MODEL:
            _log.warning("%s is not the model that the cached vectors are of: they are made anew", file.path.name)
            await asyncio.to_thread(file.clear)
            missing = np.zeros(1, np.int64)
        if len(missing):
            await asyncio.to_thread(file.add, probe, now[None])
        self._checked.add(f"{MODELS[language]}/{version}")

    async def _encoded(
        self, texts: Sequence[str], language: Language, version: str, file: "VectorFile"
    ) -> Float32Array:
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)

        order = np.argsort([len(text) for text in texts], kind="stable")  # of like length, so that little is padded
        batches = iter([order[start : start + ROWS] for start in range(0, len(order), ROWS)])

        async def work() -> None:
            for places in batches:
                async with self._calls:
                    answer = await self._call([texts[place] for place in places.tolist()], language, version)
                    vectors[places] = answer.values

        # As many as may call, and no queue of all batches: who has few texts waits for one batch of each other caller.
        tasks = [asyncio.ensure_future(work()) for _ in range(CALLS)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            done = np.flatnonzero(vectors.any(axis=1))  # what a failure has left unfinished is not done again
            await asyncio.to_thread(file.add, [texts[place] for place in done.tolist()], vectors[done])
        return rounded(vectors)

    async def _call(self, texts: Sequence[str], language: Language, version: str, request_key: str = "") -> Inferred:
        tokens = self._tokenisers[language](texts, LENGTHS_OF)
        answer = await self._models.infer(
            MODELS[language], tokens.inputs(), seconds=LONGEST_CALL_SECONDS, key=request_key, version=version
        )
        if answer.values.shape != (len(texts), DIMENSIONS):
            raise ModelUnavailable(f"{MODELS[language]}: its output is {answer.values.shape}, not rows of {DIMENSIONS}")
        return answer


def rounded(vectors: Float32Array) -> Float32Array:
    """As they come out of the cache: an index made of fresh vectors is the same as one made of kept ones."""
    return vectors.astype(np.float16).astype(np.float32)


class VectorCache:
    """A folder with a file of vectors for each version of a model."""

    def __init__(self, folder: Path, most_vectors: int = 1_000_000, most_files: int = 8) -> None:
        """Files hold at most `most_vectors` (804 bytes each); the files longest unused go when there are too many."""
        self._folder = folder
        self._most_vectors = most_vectors
        self._most_files = most_files
        self._open: dict[str, VectorFile] = {}

    def of(self, name: str) -> "VectorFile":
        """The vectors of "<model>/<version>"."""
        file = self._open.get(name)
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = VectorFile(self._folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}.vectors", self._most_vectors)
            self._open[name] = file
            self._drop_oldest()
        return file

    def _drop_oldest(self) -> None:
        mine = {file.path for file in self._open.values()}
        files = sorted(self._folder.glob("*.vectors"), key=_last_written)
        for path in files[: max(0, len(files) - self._most_files)]:
            if path not in mine:
                path.unlink(missing_ok=True)


def _last_written(path: Path) -> float:
    """Of a file that another process has just deleted: never."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


class VectorFile:
    """Vectors by the SHA-256 of their text, as halves (float16: a cosine moves by less than .0005).

    The file is only ever appended to: a record is the key, the vector, and a checksum of both. A write that was torn
    leaves a record that is short, which the next write cuts off, or one whose checksum is wrong, which counts as
    absent. Several processes may share a file; each knows what was in it when it opened it, and what it has added
    itself.
    """

    def __init__(self, path: Path, most_vectors: int) -> None:
        self.path = path
        self._most = most_vectors
        self._busy = threading.Lock()
        self._not_before = 0.0
        """Nothing is written until then, after a write that failed."""
        self._added: dict[bytes, bytes] = {}
        """Records that were written since the file was read."""
        self._records: NDArray[np.void] = np.zeros(0, _RECORD)
        self._prefixes: NDArray[np.uint64] = np.zeros(0, np.uint64)
        """The first eight bytes of the keys in the file, in order; of equal ones the newest last."""
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)
        """The record of each prefix."""
        self._read()

    def __len__(self) -> int:
        return len(self._records) + len(self._added)

    def get(self, texts: Sequence[str]) -> tuple[Float32Array, NDArray[np.int64]]:
        """float32 [n, 384], and the places of those that are not here, whose rows are zero. Safe in a thread."""
        keys = [_key(text) for text in texts]
        with self._busy:
            records = self._newest(keys)
        rows = [record.tobytes() for record in records]
        sound = (zlib.crc32(row[:-4]) == int.from_bytes(row[-4:], "little") for row in rows)
        here = np.array([row[:32] == key and ok for row, key, ok in zip(rows, keys, sound, strict=True)], np.bool_)
        vectors = records["vector"].astype(np.float32)
        vectors[~here] = 0.0
        return vectors, np.flatnonzero(~here)

    def add(self, texts: Sequence[str], vectors: Float32Array) -> None:
        """Appends vectors (float32 [n, 384]); that they cannot be written is said, and costs their encoding next
        time."""
        records = np.zeros(len(texts), _RECORD)
        records["key"] = np.frombuffer(b"".join(_key(text) for text in texts), "V32")
        records["vector"] = vectors
        records["crc"] = [zlib.crc32(record.tobytes()[:-4]) for record in records]
        with self._busy:
            if time.monotonic() < self._not_before:
                return
            try:
                self._append(records)
            except OSError as error:
                _log.warning("vectors are not kept in %s: %s", self.path, error)
                self._not_before = time.monotonic() + PAUSE_SECONDS
                return
            self._added |= {record["key"].tobytes(): record.tobytes() for record in records}
            if len(self._added) > MOST_ADDED:
                self._read()

    def clear(self) -> None:
        """Forgets all, on disk too."""
        with self._busy:
            self.path.unlink(missing_ok=True)
            self._read()

    def _newest(self, keys: Sequence[bytes]) -> NDArray[np.void]:
        """The newest record that may be each key's; the caller compares keys and checksums."""
        records = np.zeros(len(keys), _RECORD)
        if len(self._records):
            wanted = np.frombuffer(b"".join(key[:8] for key in keys), np.uint64)
            at = np.searchsorted(self._prefixes, wanted, side="right") - 1
            records = self._records[self._order[np.maximum(at, 0)]]
        for place, key in enumerate(keys if self._added else ()):
            if key in self._added:
                records[place] = np.frombuffer(self._added[key], _RECORD)[0]
        return records

    def _read(self) -> None:
        self._added = {}
        self._records = np.zeros(0, _RECORD)
        if self.path.exists():
            with self.path.open("rb") as file:
                begins = file.read(len(_MAGIC))
                if len(begins) == len(_MAGIC) and begins != _MAGIC:
                    _log.warning("%s is no file of vectors of this kind: it is made anew", self.path)
                    self.path.unlink()
                elif whole := _whole_records(file):
                    self._records = np.memmap(file, _RECORD, "r", len(_MAGIC), (whole,))
        prefixes = np.ascontiguousarray(self._records["key"]).view(np.uint64)[:: 32 // 8]
        self._order = np.argsort(prefixes, kind="stable")
        self._prefixes = prefixes[self._order]

    def _append(self, records: NDArray[np.void]) -> None:
        """Writes at the end, alone; again where another process put a new file in this one's place meanwhile."""
        for _ in range(MOST_RENEWALS):
            with self.path.open("ab") as file:
                _lock(file)
                if self._is_current(file):
                    self._append_alone(file, records)
                    return
        raise OSError(f"other processes put a new file in its place {MOST_RENEWALS} times in a row")

    def _is_current(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _append_alone(self, file: BinaryIO, records: NDArray[np.void]) -> None:
        if file.seek(0, os.SEEK_END) < len(_MAGIC):
            file.truncate(0)
            file.write(_MAGIC)
            file.flush()
        whole = _whole_records(file)
        file.truncate(len(_MAGIC) + whole * _RECORD.itemsize)  # what a torn write has left
        if whole + len(records) <= self._most:
            file.write(records.tobytes())
        else:
            _log.warning("%s is full (%d vectors): the older half goes", self.path, whole)
            self._begin_anew(whole, records)

    def _begin_anew(self, whole: int, records: NDArray[np.void]) -> None:
        """A new file with the newer half: whoever reads the old one may go on."""
        beside = self.path.with_suffix(".new")
        with self.path.open("rb") as old, beside.open("wb") as new:
            new.write(_MAGIC)
            old.seek(len(_MAGIC) + max(0, whole - self._most // 2) * _RECORD.itemsize)
            shutil.copyfileobj(old, new)
            new.write(records[-(self._most - self._most // 2) :].tobytes())
        beside.replace(self.path)
        self._read()


def _lock(file: BinaryIO) -> None:
    """Waits for other processes that write. Raises OSError where one does not let go of it."""
    gives_up_at = time.monotonic() + LONGEST_WRITE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > gives_up_at:
                raise
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return


def _whole_records(file: BinaryIO) -> int:
    return max(0, file.seek(0, os.SEEK_END) - len(_MAGIC)) // _RECORD.itemsize


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
