"""The walk: what the system does, shown on real input through the gateway, and checked while it is shown.

`casebook demo` prints it for people; `casebook demo-check` runs the same steps and fails where one does not
hold. Nothing is prepared for it: every line printed comes out of an answer of the running system.
Each case has its steps in a module of its own.
"""

import time

import httpx
from rich.console import Console

from cli.walks.recommender import Recommender
from cli.walks.support import Support
from cli.walks.walk import StepFailed, System, Walk

__all__ = ["CASES", "StepFailed", "System", "Walk", "run", "try_next"]

CASES: tuple[type[Recommender | Support], ...] = (Recommender, Support)


def run(system: System, console: Console) -> list[str]:
    """Walks through the system; returns what did not hold, empty when every step did."""
    headers = {"Authorization": f"Bearer {system.api_key}"}
    with httpx.Client(base_url=system.gateway, headers=headers, timeout=10.0) as http:
        walk = Walk(http, console, system.trace_folder)
        started = time.perf_counter()
        for case in CASES:
            for step in case(walk).steps:
                step()
        seconds = time.perf_counter() - started
        if walk.failures:
            console.print(f"\n[red bold]{len(walk.failures)} steps did not hold[/]")
        else:
            console.print(f"\n[green bold]Every step held[/], in {seconds:.0f} s")
        return walk.failures


def try_next(system: System, console: Console) -> None:
    """Prints lines that work as they stand, while the system stays up."""
    console.print(
        f"""
[bold]Try next[/]
  The API's page     {system.gateway}/docs
  Recommendations    curl -s {system.gateway}/v1/recommendations -H 'Authorization: Bearer {system.api_key}' \\
                       -H 'Content-Type: application/json' -d '{{"user_id": "42", "limit": 5, "explain": true}}'
  A click            curl -s {system.gateway}/v1/events -H 'Authorization: Bearer {system.api_key}' \\
                       -H 'Content-Type: application/json' -d '{{"user_id": "42", "item_id": "50", "action": "click"}}'
  A question         curl -s {system.gateway}/v1/support/conversations -H 'Authorization: Bearer {system.api_key}' \\
                       -H 'Content-Type: application/json' -d '{{"knowledge_base": "bank", "question": "卡丢了怎么办"}}'
  Models             curl -s {system.gateway}/v1/models -H 'Authorization: Bearer {system.api_key}'
  From the shell     casebook models list; casebook models canary din 2 --share 0.2; casebook trace TRACE_ID
""",
        highlight=False,
        soft_wrap=True,
    )
