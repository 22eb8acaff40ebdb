"""`python -m recommender serve | consume | relay | sink | migrate | seed`."""

import asyncio
import os

# For matrices of 100 rows more threads only spin and wait: 35 ms of CPU time a request instead of 11, on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from chassis import database, outbox
from chassis.events import EventProducer
from chassis.process import Process, main
from recommender import bootstrap
from recommender.events import in_thread
from recommender.settings import RecommenderSettings
from recommender.sink import Sink

Running = Process[RecommenderSettings]


async def consume(process: Running) -> None:
    """Turns behaviour into features."""
    async with in_thread(process, bootstrap.feature_consumer(process.settings).run, "features"):
        await process.until_stopped()


async def relay(process: Running) -> None:
    """Publishes what waits in the outbox."""
    engine = database.connect_blocking(process.settings.database_url.get_secret_value())
    relaying = outbox.Relay(engine, EventProducer(process.settings, source="recommender"), service="recommender")
    async with in_thread(process, relaying.run, "relay"):
        await process.until_stopped()


async def sink(process: Running) -> None:
    """Writes behaviour and what was served, for training."""
    writing = Sink(process.settings, EventProducer(process.settings, source="recommender"))
    async with in_thread(process, writing.run, "sink"):
        await process.until_stopped()


async def migrate(process: Running) -> None:
    """Brings the database to its newest revision, as its owner."""
    owner, lesser = process.settings.database_owner_url, process.settings.database_url
    await asyncio.to_thread(database.migrate, "recommender", owner.get_secret_value(), lesser.get_secret_value())


async def seed(process: Running) -> None:
    """Loads a data set."""
    await bootstrap.seed_once(process.settings)


if __name__ == "__main__":
    serve = bootstrap.serve
    processes = {"serve": serve, "consume": consume, "relay": relay, "sink": sink, "migrate": migrate, "seed": seed}
    main("recommender", RecommenderSettings, processes)
