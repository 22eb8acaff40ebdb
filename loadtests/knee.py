"""Where a ramp bends: three answers, each a published or plain rule, none of them a reading of a curve by eye.

*Knee*: the step of the greatest power, throughput over mean response time (Kleinrock, "Power and deterministic rules of
thumb for probabilistic problems in computer communications", ICC 1979). Before it more users bring more throughput than
delay; behind it, more delay than throughput.

*Saturated*: from the first step that keeps less than half of what it adds. Users who pause between requests would, were
the answers as quick as in the first step, ask in proportion to their number: that is what is offered.

*Capacity*: the last step up to which every SLO held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.slos import Slo, judge
from loadtests.steps import Step

KEPT_SHARE = 0.5
"""Of what a step adds to the load; a step that keeps less is saturated."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """What the steps of one run say; places in `steps`, None where a rule was met by none."""

    steps: tuple[Step, ...]
    knee: int
    saturated: int | None
    capacity: int | None

    @property
    def knee_reached(self) -> bool:
        """Whether power has begun to fall: a knee in the last step is where the ramp ended, not where it bends."""
        return self.knee < len(self.steps) - 1


def offered(steps: Sequence[Step], place: int) -> float:
    """Requests a second that the step's users would send if answers stayed as quick as in the first step."""
    return steps[place].users * steps[0].throughput / steps[0].users


def kept_share(steps: Sequence[Step], place: int) -> float:
    """How much of what this step adds to the offered load arrives as throughput; 1 for the first step."""
    if place == 0:
        return 1.0
    added = offered(steps, place) - offered(steps, place - 1)
    return (steps[place].throughput - steps[place - 1].throughput) / added if added > 0 else 1.0


def find(steps: Sequence[Step], slos: Mapping[str, Slo]) -> Ramp:
    """Applies the three rules to a ramp of at least one step."""
    knee = max(range(len(steps)), key=lambda place: steps[place].power)
    saturated = next((place for place in range(len(steps)) if kept_share(steps, place) < KEPT_SHARE), None)
    capacity = None
    for place, step in enumerate(steps):
        if not all(verdict.holds for verdict in judge(slos, step.endpoints)):
            break
        capacity = place
    return Ramp(tuple(steps), knee, saturated, capacity)
