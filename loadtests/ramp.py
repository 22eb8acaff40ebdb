"""The load rises in steps: the design load for a minute, which the SLOs are judged on, then half as much again at each.

Steps grow by a factor, so that a laptop and a cluster both find their knee in a few of them. The ramp ends early when
two steps in a row are saturated (knee.py): what comes after that is the same, only slower.
"""

from typing import Any, ClassVar

from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser

from loadtests import judge, knee


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """The shape of the ramp."""
    group = parser.add_argument_group("Casebook: the ramp")
    group.add_argument("--design-users", type=int, default=26, help="Users of the first step")
    group.add_argument("--design-seconds", type=float, default=60.0, help="How long it lasts")
    group.add_argument("--step-factor", type=float, default=1.5, help="Users of a step, by those of the one before")
    group.add_argument("--step-seconds", type=float, default=15.0, help="How long a further step lasts")
    group.add_argument("--steps", type=int, default=8, help="Further steps, at most")


class Ramp(LoadTestShape):
    """The design load, then step after step."""

    abstract: ClassVar[bool] = False

    def tick(self) -> tuple[int, float] | None:
        """The users of the present step, all of whom start within its first second; None at the end."""
        options: Any = self.runner.environment.parsed_options if self.runner else None
        past_design = self.get_run_time() - options.design_seconds  # type: ignore[no-untyped-call]
        step = 0 if past_design < 0 else 1 + int(past_design // options.step_seconds)
        if step > options.steps or self._drowned():
            return None
        users = round(options.design_users * options.step_factor**step)
        return users, float(users)

    @staticmethod
    def _drowned() -> bool:
        steps = judge.steps_so_far()
        places = range(len(steps))[1:][-2:]
        return len(places) == 2 and all(knee.kept_share(steps, place) < knee.KEPT_SHARE for place in places)
