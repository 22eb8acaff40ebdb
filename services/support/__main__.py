"""`python -m support serve | consume | relay | timers | sink | migrate | seed`."""

import os
from functools import partial

# Matrices here are small: more threads only spin and wait, on cores that others need.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from chassis import processes
from chassis.process import Process, main
from support import bootstrap
from support.settings import SupportSettings
from support.sink import TABLES


async def consume(process: Process[SupportSettings]) -> None:
    """Turns feedback into labelled questions."""
    await process.run_in_thread(bootstrap.feedback_consumer(process.settings).run, "feedback")


async def seed(process: Process[SupportSettings]) -> None:
    """Loads a knowledge base."""
    await bootstrap.seed_once(process.settings)


if __name__ == "__main__":
    main(
        "support",
        SupportSettings,
        {
            "serve": bootstrap.serve,
            "consume": consume,
            "relay": processes.relay,
            "timers": bootstrap.timers,
            "sink": partial(processes.sink, tables=TABLES),
            "migrate": processes.migrate,
            "seed": seed,
        },
    )
