"""`python -m recommender serve | consume | relay | sink | migrate | seed`."""

import os
from functools import partial

# For matrices of 100 rows more threads only spin and wait: 35 ms of CPU time a request instead of 11, on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from chassis import processes
from chassis.process import Process, main
from recommender import bootstrap
from recommender.settings import RecommenderSettings
from recommender.sink import TABLES


async def consume(process: Process[RecommenderSettings]) -> None:
    """Turns behaviour into features."""
    await process.run_in_thread(bootstrap.feature_consumer(process.settings).run, "features")


async def seed(process: Process[RecommenderSettings]) -> None:
    """Loads a data set."""
    await bootstrap.seed_once(process.settings)


if __name__ == "__main__":
    main(
        "recommender",
        RecommenderSettings,
        {
            "serve": bootstrap.serve,
            "consume": consume,
            "relay": processes.relay,
            "sink": partial(processes.sink, tables=TABLES),
            "migrate": processes.migrate,
            "seed": seed,
        },
    )
