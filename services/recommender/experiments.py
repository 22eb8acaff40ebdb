"""A/B experiments: who is in which arm, what an arm changes, and whether the difference is one.

The split is sticky without a table: the arm is a hash of the experiment's name and the visitor, so every replica and
every consumer knows it. Another name splits anew.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from recommender.reranking import Policy


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant: its share of the visitors, and the fields of the re-ranking policy that it replaces."""

    name: str
    share: float
    changes: dict[str, int | float] = field(default_factory=dict)

    def applied_to(self, policy: Policy) -> Policy:
        """The policy of this arm. Raises TypeError for a field that there is not."""
        return replace(policy, **self.changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Experiment:
    """A split of the visitors. The first arm is the control; without arms there is one, "all"."""

    name: str = ""
    arms: tuple[Arm, ...] = (Arm("all", 1.0),)

    def __post_init__(self) -> None:
        total = sum(arm.share for arm in self.arms)
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"the arms' shares must add up to 1, received {total:g}")
        if len({arm.name for arm in self.arms}) != len(self.arms):
            raise ValueError("each arm needs a name of its own")

    def arm_of(self, visitor_key: str) -> Arm:
        """The arm of a visitor ("tenant:user"), always the same."""
        digest = hashlib.blake2b(f"{self.name}\0{visitor_key}".encode(), digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64
        for arm in self.arms:
            if point < arm.share:
                return arm
            point -= arm.share
        return self.arms[-1]


@dataclass(frozen=True, slots=True)
class Tally:
    """What an arm has shown and what came of it."""

    impressions: int = 0
    clicks: int = 0

    @property
    def rate(self) -> float:
        """Clicks an impression."""
        return self.clicks / self.impressions if self.impressions else 0.0


@dataclass(frozen=True, slots=True)
class ReadOut:
    """How an arm differs from the control: `lift` in click rate, its 95 % interval, and the two-sided p-value."""

    lift: float
    low: float
    high: float
    z: float
    p_value: float


def read_out(control: Tally, treatment: Tally) -> ReadOut:
    """A two-proportion z-test: pooled variance for the test, unpooled for the interval (Agresti, section 3.1).

    It is valid for one look at a sample whose size was set before; impressions of one visitor are taken as independent,
    which makes the interval somewhat too narrow. Without data in an arm there is no difference to see: p is 1.
    """
    n, m = control.impressions, treatment.impressions
    lift = treatment.rate - control.rate
    if not n or not m:
        return ReadOut(lift, -1.0, 1.0, 0.0, 1.0)
    pooled = (control.clicks + treatment.clicks) / (n + m)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    z = lift / deviation if deviation else 0.0
    unpooled = math.sqrt(control.rate * (1 - control.rate) / n + treatment.rate * (1 - treatment.rate) / m)
    margin = 1.959964 * unpooled
    return ReadOut(lift, lift - margin, lift + margin, z, math.erfc(abs(z) / math.sqrt(2)))


def read_outs(experiment: Experiment, tallies: Sequence[Tally]) -> dict[str, ReadOut]:
    """Each arm after the first against the first, by name; `tallies` in the order of the arms."""
    control, *treatments = tallies
    return {arm.name: read_out(control, tally) for arm, tally in zip(experiment.arms[1:], treatments, strict=True)}
