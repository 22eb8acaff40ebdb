"""The processes that are the same in every service: `main("greeter", GreeterSettings, {"relay": relay, ...})`.

What one has to be told, `functools.partial` tells it: `partial(sink, tables=TABLES)`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from chassis import database, outbox
from chassis.events import EventProducer
from chassis.process import Process
from chassis.settings import Settings, SinkSettings

if TYPE_CHECKING:
    from chassis.sink import Table

S = TypeVar("S", bound=Settings)
Sinking = TypeVar("Sinking", bound=SinkSettings)


async def migrate(process: Process[S], append_only: Sequence[str] = ()) -> None:
    """Brings the service's database to its newest revision, as its owner (`chassis.database.migrate`)."""
    owner, lesser = process.settings.database_owner_url, process.settings.database_url
    urls = owner.get_secret_value(), lesser.get_secret_value()
    await asyncio.to_thread(database.migrate, process.service, *urls, append_only)


async def relay(process: Process[S]) -> None:
    """Publishes what waits in the outbox."""
    engine = database.connect_blocking(process.settings.database_url.get_secret_value())
    producer = EventProducer(process.settings, source=process.service)
    await process.run_in_thread(outbox.Relay(engine, producer, service=process.service).run, "relay")


async def sink(process: Process[Sinking], tables: Mapping[str, "Table"]) -> None:
    """Writes topics for training, each as its table says."""
    # Imported here: a service without a sink has no pyarrow.
    from chassis.sink import Sink

    producer = EventProducer(process.settings, source=process.service)
    writing = Sink(process.settings, f"{process.service}.sink", tables, producer)
    await process.run_in_thread(writing.run, "sink")
