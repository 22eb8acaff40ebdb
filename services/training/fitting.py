"""The training loop: warm-up, clipping, early stopping, checkpoints that resume, mixed precision, several processes.

Tried on CPUs only, with one process and with two under torchrun (gloo). The GPU's part (mixed precision, NCCL) is
written to PyTorch's documentation and has not been run.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

Report = Callable[[str, float, int], None]
"""Takes a metric's name, its value and the epoch."""


def to_nobody(metric: str, value: float, epoch: int) -> None:
    """A report that is not wanted."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How to train. `patience`: epochs without a better validation score before it stops."""

    epochs: int = 20
    batch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    clip_norm: float = 1.0
    patience: int = 3
    seed: int = 17


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training went; the model holds the best epoch's weights."""

    best_epoch: int
    best_score: float
    epochs: int


class CheckpointError(RuntimeError):
    """A checkpoint that belongs to another run."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that train together, as `torchrun` started them; one without it."""

    rank: int
    count: int
    device: torch.device

    @staticmethod
    def current() -> "Workers":
        """From torchrun's environment variables; a GPU of its own for each process where there are GPUs."""
        local = int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
        return Workers(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")), device)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes checkpoints, versions and tracked runs."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Joins the process group for the time of a training run."""
        if self.count == 1:
            yield
            return
        distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        try:
            yield
        finally:
            distributed.destroy_process_group()


def fit(
    model: nn.Module,
    examples: Mapping[str, Tensor],
    validate: Callable[[], float],
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    run: str = "",
    report: Report = to_nobody,
) -> Fitted:
    """Trains `model`, whose forward pass takes a batch of `examples` and returns its mean loss.

    Everything random in an epoch follows from the seed and the epoch's number, so on a CPU a run that was stopped and
    resumed gives the same weights, bit for bit, as one that was not. On a GPU sums are taken in no fixed order.

    Args:
        model: left in evaluation mode with the weights of the epoch whose validation score was best.
        examples: tensors by name, the first dimension of each counts the examples.
        validate: the score of the model as it stands; higher is better.
        schedule: how long and how fast.
        checkpoint: written after every epoch; where it exists, training goes on from it.
        run: names data, hyper-parameters and code; a checkpoint of another run is refused.
        report: told the loss and the score of every epoch.

    Raises:
        CheckpointError: if the checkpoint is of another run.

    """
    workers = Workers.current()
    # Two threads add an embedding's gradients in whatever order they come: without this, two equal runs of four epochs
    # differ by 4e-5.
    torch.use_deterministic_algorithms(workers.device.type == "cpu")
    model.to(workers.device)
    training = model
    if workers.count > 1:
        # Every process must begin with the same weights and see the gradients of all.
        training = DistributedDataParallel(model, [workers.device.index] if workers.device.type == "cuda" else None)
    count = len(next(iter(examples.values())))
    steps_per_epoch = max(1, count // (schedule.batch_size * workers.count))
    optimizer = torch.optim.AdamW(model.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    state = _State(model, optimizer, _warm_up_then_cosine(optimizer, schedule, steps_per_epoch), run)
    if checkpoint and checkpoint.exists():
        state.restore(checkpoint)
    while state.epoch < schedule.epochs and state.epoch - state.best_epoch < schedule.patience:
        loss = _train_epoch(training, examples, state, schedule, workers, steps_per_epoch)
        model.eval()
        with torch.no_grad():
            score = validate()
        state.finish_epoch(score)
        report("loss", loss, state.epoch)
        report("validation", score, state.epoch)
        if checkpoint and workers.first:
            state.save(checkpoint)
    model.load_state_dict(state.best_weights)
    model.eval()
    return Fitted(state.best_epoch, state.best_score, state.epoch)


class _State:
    """All that a resumed run needs to know."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        run: str,
    ) -> None:
        self.model, self.optimizer, self.scheduler, self.run = model, optimizer, scheduler, run
        self.epoch = 0
        self.best_epoch = 0
        self.best_score = -math.inf
        self.best_weights = _copy(model.state_dict())

    def finish_epoch(self, score: float) -> None:
        self.epoch += 1
        if score > self.best_score:
            self.best_epoch, self.best_score, self.best_weights = self.epoch, score, _copy(self.model.state_dict())

    def save(self, path: Path) -> None:
        """Whole or not at all: a run killed while writing leaves the last epoch's checkpoint."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "run": self.run,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "epoch": self.epoch,
                "best_epoch": self.best_epoch,
                "best_score": self.best_score,
                "best_weights": self.best_weights,
            },
            partial,
        )
        partial.replace(path)

    def restore(self, path: Path) -> None:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        if saved["run"] != self.run:
            raise CheckpointError(
                f"{path} is of another run: {saved['run']}; this one is {self.run}; remove it to start"
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scheduler.load_state_dict(saved["scheduler"])
        self.epoch, self.best_epoch = saved["epoch"], saved["best_epoch"]
        self.best_score, self.best_weights = saved["best_score"], saved["best_weights"]


def _train_epoch(
    model: nn.Module,
    examples: Mapping[str, Tensor],
    state: _State,
    schedule: Schedule,
    workers: Workers,
    steps: int,
) -> float:
    """The mean loss of the epoch over this process's batches."""
    model.train()
    # The same order in all processes, another dropout in each.
    order = torch.randperm(
        len(next(iter(examples.values()))), generator=torch.Generator().manual_seed(schedule.seed + state.epoch)
    )
    torch.manual_seed((schedule.seed + state.epoch) * 1009 + workers.rank)
    precision = torch.bfloat16 if workers.device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
    mixed = workers.device.type == "cuda"
    scaler = torch.amp.GradScaler(workers.device.type, enabled=mixed and precision is torch.float16)
    total = 0.0
    for step in range(steps):
        start = (step * workers.count + workers.rank) * schedule.batch_size
        chosen = order[start : start + schedule.batch_size]
        batch = {name: tensor[chosen].to(workers.device, non_blocking=True) for name, tensor in examples.items()}
        with torch.autocast(workers.device.type, precision, enabled=mixed):
            loss: Tensor = model(batch)
        state.optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), schedule.clip_norm)
        scaler.step(state.optimizer)
        scaler.update()
        state.scheduler.step()
        total += loss.item()
    return total / steps


def _warm_up_then_cosine(
    optimizer: torch.optim.Optimizer, schedule: Schedule, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """A share of the learning rate that rises linearly over the warm-up, then falls to a twentieth along a cosine."""
    last = max(schedule.epochs * steps_per_epoch, schedule.warmup_steps + 1)

    def share(step: int) -> float:
        if step < schedule.warmup_steps:
            return (step + 1) / schedule.warmup_steps
        done = (step - schedule.warmup_steps) / (last - schedule.warmup_steps)
        return 0.05 + 0.95 * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def run_name(data_sha256: str, *parts: Any) -> str:
    """What makes two runs the same: the data and every hyper-parameter."""
    return f"data {data_sha256[:16]}, " + ", ".join(str(asdict(part)) for part in parts)
