"""Connections to PostgreSQL that end where it falls silent: its own time limits count only while it can act on them.

A server may hang, and a proxy in between may hold a connection whose server is gone. Neither `statement_timeout` nor
TCP ends a wait then, since whoever holds the connection goes on acknowledging what is sent. psycopg has no limit of its
own, and a wait that is cancelled asks the silent server to cancel, and waits for that: 10 s (psycopg 3.3).
"""

import asyncio
import time
from typing import TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow

R = TypeVar("R")

INTERVAL_SECONDS = 0.1
"""How often a wait in which nothing comes looks up (psycopg's own default)."""


class BoundedConnection(psycopg.Connection[TupleRow]):
    """For a thread. It ends with an OperationalError where nothing comes for `patience_seconds`."""

    patience_seconds: float | None = None

    def wait(self, gen: PQGen[R], interval: float = INTERVAL_SECONDS, timeout: float | None = None) -> R:
        """Everything that is said to the server, and heard of it, passes here."""
        return super().wait(_listening(gen, self.pgconn, self.patience_seconds), interval, timeout)


class BoundedAsyncConnection(psycopg.AsyncConnection[TupleRow]):
    """For asyncio. It ends in the same way, and at once where its task is cancelled in the middle of a statement."""

    patience_seconds: float | None = None

    async def wait(  # psycopg's own signature
        self,
        gen: PQGen[R],
        interval: float = INTERVAL_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> R:
        """Everything that is said to the server, and heard of it, passes here."""
        listening = _listening(gen, self.pgconn, self.patience_seconds)
        try:
            return await waiting.wait_async(listening, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            # SQLAlchemy throws such a connection away in any case. The server finds out by itself.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def _listening(gen: PQGen[R], connection: PGconn, patience_seconds: float | None) -> PQGen[R]:
    """A step of psycopg's protocol, ended where neither a byte comes nor one can be sent for so long.

    Whoever drives it sends what the socket is ready for, after each interval without anything 0.
    """
    try:
        wanted = next(gen)
        heard_at = time.monotonic()
        while True:
            ready = yield wanted
            if ready:
                heard_at = time.monotonic()
            elif patience_seconds is not None and time.monotonic() - heard_at > patience_seconds:
                connection.finish()
                raise psycopg.OperationalError(f"the server has been silent for {patience_seconds:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        result: R = end.value
        return result
