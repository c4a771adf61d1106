r"""The training loop: one forward and one backward a step, for generators and critics alike.

At step t, on every process,

    g   = ∇ (1/K) Σ_k (L_generator + L_critic)(batch_k)    of the step's K batches
    φ,θ ← AdamW(g, η(t))   for the generators,      ψ ← AdamW(g, η(t))   for the critics
          (or Muon, see :mod:`imgturbo.training.muon`, for the generators' matrices)
    θ̄   ← β_t θ̄ + (1 − β_t) θ

With ``train.critic_steps`` n a step begins with n − 1 such updates of ψ alone, each on K batches of
its own, so that the critics are nearer to their best when the generators follow them.

Neither loss's gradient reaches the other's parameters (see :mod:`imgturbo.turbo.objective`), so one
backward of their sum serves both optimisers, and DDP wraps the objective once (law 8).

The batch, the noise, the learning rate and β_t are functions of (seed, t, rank) alone. With the
weights, the optimisers' moments, the average and the image pools in the checkpoint, a killed run
goes on as if nothing had happened: bit for bit on a CPU with one or two processes (law 5; with
more, the order in which gradients are summed may change).
"""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from torch import Tensor, nn

from imgturbo.config import Config
from imgturbo.data.batch import Batch
from imgturbo.data.choice import open_source
from imgturbo.data.source import Source
from imgturbo.engines import settle
from imgturbo.errors import ImgturboError
from imgturbo.heap import kept
from imgturbo.locks import locked
from imgturbo.losses import Losses
from imgturbo.report.progress import WorkProgress
from imgturbo.stopping import end_with_launcher
from imgturbo.team import Team
from imgturbo.training.best import consider, write_best_bundle
from imgturbo.training.checkpoint import Checkpoints
from imgturbo.training.folder import check_folder, clear_folder, write_config
from imgturbo.training.processor import settle_precision
from imgturbo.training.schedule import learning_rate_factor
from imgturbo.training.seeds import TRAINING, seed_step
from imgturbo.training.signals import StopSignal
from imgturbo.training.state import RunState
from imgturbo.training.statistics import share_statistics
from imgturbo.training.trackers import resolve_trackers, start_trackers

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        out: the run's folder.
        step: updates made, in this and earlier sittings.
        finished: False if a signal stopped it before ``train.steps``, or ``train.patience``, did.
        seconds: spent training, in this and earlier sittings.
        scores: validation scores of the best weights, such as ``forward/psnr``.
        best_step: the step of those weights; they are what the bundle holds.
        bundle: the bundle's folder; None if none was written yet.
        stopped_by: number of the signal, where one stopped it.
    """

    out: Path
    step: int
    finished: bool
    seconds: float
    scores: dict[str, float]
    best_step: int | None
    bundle: Path | None
    stopped_by: int = signal.SIGTERM

    @property
    def status(self) -> int:
        """What a command exits with: 0 of a finished run, else 128 and the signal's number."""
        return 0 if self.finished else 128 + self.stopped_by

    @property
    def message(self) -> str:
        """The result in a line or two."""
        if not self.finished:
            return f"stopped at step {self.step}; run the same command to continue"
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.scores.items())
        return (
            f"trained {self.step} steps in {self.seconds:.0f} s; best at step {self.best_step}"
            f"{': ' + shown if shown else ''}\nbundle: {self.bundle}"
        )


def train(config: Config, resume: bool = True, source: Source | None = None) -> TrainResult:
    """Train a model, or go on with training it.

    Args:
        config: read by ``load_config``.
        resume: go on from the newest undamaged checkpoint in ``train.out``; False starts anew and
            removes what an earlier run wrote there.
        source: the training data; None opens what ``config.data`` asks for.

    Raises:
        ImgturboError: no data, a config that fits neither data nor checkpoint, a loss that is not
            finite (before the update, naming the samples), a disk that is full or not writable.
    """
    config = settle(config)
    resolve_trackers(config.train.trackers)  # before anything is written
    source = source or open_source(config)
    config = settle_precision(config, source, resume)
    # Accelerate keeps one state a process; an earlier run's may be of another precision.
    AcceleratorState._reset_state()
    try:
        accelerator = _accelerator(config)
        with kept(), StopSignal() as stop, ExitStack() as held:
            result = _train(config, source, accelerator, resume, stop, held)
        accelerator.end_training()
        return result
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def _accelerator(config: Config) -> Accelerator:
    out, settings = config.train.out, config.train
    end_with_launcher()
    try:
        accelerator = Accelerator(
            # Without this, processes started by torchrun on CPUs would not find one another.
            cpu=not torch.accelerator.is_available(),
            mixed_precision=settings.precision,
            project_config=ProjectConfiguration(project_dir=str(out), logging_dir=str(out)),
        )
    except ValueError as error:
        raise ImgturboError(
            f"train.precision = {settings.precision!r} is not possible on this device ({error}); "
            "use 'no' or 'bf16'"
        ) from None
    if settings.precision == "fp16" and accelerator.device.type == "cpu":
        raise ImgturboError("train.precision = 'fp16' needs a GPU; use 'no' or 'bf16' on a CPU")
    Team.check(accelerator.num_processes)
    return accelerator


def _train(
    config: Config,
    source: Source,
    accelerator: Accelerator,
    resume: bool,
    stop: StopSignal,
    held: ExitStack,
) -> TrainResult:
    """All of it; what `held` takes is let go of when the run has ended."""
    settings = config.train
    team = Team(accelerator.process_index, accelerator.num_processes, accelerator.device)
    state = RunState(config, source, accelerator, team)
    checkpoints = Checkpoints(settings.out / "checkpoints", settings.keep)
    report = WorkProgress("training", settings.steps, shown=team.first)

    with state.writing(), team.together():
        if team.first:
            check_folder(config)
            held.enter_context(locked(settings.out, "choose another 'train.out'", inside=True))
            if not resume:
                clear_folder(settings.out)
    if resume:
        state.resume(checkpoints, report.line)
    if state.progress.step == 0:
        state.begin()
    with state.writing(), team.together():
        if team.first:
            write_config(config)
    progress = state.progress
    report.line(state.objective.account(source))
    with state.writing(), team.together():
        start_trackers(accelerator, config, progress.step)

    batches_a_step = settings.accumulate * (settings.critic_steps or 1)
    batches = state.source.iterate(progress.step * batches_a_step)
    earlier, started = progress.seconds, time.monotonic()
    rate = _Rate(progress.step, source.batch_size * batches_a_step * team.size)
    stopped = False
    with report:
        if settings.patience is not None and progress.best_step is None:
            _score(state, report)
            _refuse_scoreless(state)
            state.save(checkpoints)
        while progress.step < settings.steps and not stopped and not state.stale:
            values, stopped = _update(state, batches, stop)
            progress.step += 1
            progress.seconds = earlier + time.monotonic() - started
            report.advance(progress.step)
            last = progress.step == settings.steps
            if progress.step % settings.log_every == 0 or last:
                _log(state, values, rate.since_last(progress.step), report)
            paused = time.monotonic()
            # Also when stopped: a run that goes on from here does not come back to this step.
            validated = last or progress.step % settings.validate_every == 0
            better = validated and _score(state, report)
            due = stopped or better or state.stale or progress.step % settings.checkpoint_every == 0
            if last or due:
                state.save(checkpoints)
            rate.skip(time.monotonic() - paused)
    finished = progress.step >= settings.steps or state.stale
    return TrainResult(
        out=settings.out,
        step=progress.step,
        finished=finished,
        seconds=progress.seconds,
        scores=progress.best_scores,
        best_step=progress.best_step,
        bundle=write_best_bundle(state, checkpoints) if finished else None,
        stopped_by=stop.number,
    )


def _score(state: RunState, report: WorkProgress) -> bool:
    """Score the averaged weights, tell it, and whether they are the best so far."""
    scores, better = consider(state)
    step = state.progress.step
    state.accelerator.log({f"validation/{k}": v for k, v in scores.items()}, step)
    report.scores(step, scores)
    return better


def _refuse_scoreless(state: RunState) -> None:
    """Where the score that selects is not to be had, nobody could tell whether anything helps."""
    score, there = state.selection.score, state.progress.best_scores
    if score in there:
        return
    instead = f"set train.select to one of {', '.join(there)}" if there else "give pairs"
    raise ImgturboError(
        f"train.patience waits for a better {score or 'score'}, which the validation samples of "
        f"{state.source.name} do not give; {instead}, or leave train.patience out"
    )


def _update(
    state: RunState, batches: Iterator[Batch], stop: StopSignal
) -> tuple[dict[str, Tensor], bool]:
    """One update of all weights; returns what may be logged, and whether any process is to stop.

    Raises:
        ImgturboError: in all processes, before any weight has changed, if a loss or a gradient is
            not finite in one of them.
    """
    settings, step = state.config.train, state.progress.step
    seed_step(state.config.seed, TRAINING, step, state.team.rank)
    factor = learning_rate_factor(
        step, settings.steps, settings.warmup, settings.final_lr, settings.schedule
    )
    for _ in range((settings.critic_steps or 1) - 1):
        _descend(state, batches, ("critics",), factor, stop)
    losses, norms, stops = _descend(state, batches, tuple(state.optimizers), factor, stop)
    share_statistics(state.objective, state.team)
    state.ema.update(step)
    values = {
        "loss/generator": losses.generator.detach(),
        "loss/critic": losses.critic.detach(),
        **{f"term/{name}": value.detach() for name, value in losses.terms.items()},
        **{f"gradient/{name}": norm for name, norm in norms.items()},
    }
    return values, stops > 0


def _descend(
    state: RunState,
    batches: Iterator[Batch],
    chosen: Sequence[str],
    factor: float,
    stop: StopSignal,
) -> tuple[Losses, dict[str, Tensor], int]:
    """One update by the chosen optimisers, on batches of its own.

    Args:
        factor: of the learning rates.

    Returns:
        The last batch's losses, the norms of the gradients, and how many processes are to stop.
    """
    settings, accelerator = state.config.train, state.accelerator
    # DDP waits for the gradient of every parameter; a single process spares what is not used.
    all_of_it = state.team.size > 1 or len(chosen) == len(state.optimizers)
    totals: list[Tensor] = []
    names: list[list[str]] = []
    for part in range(settings.accumulate):
        batch = _to_device(next(batches), state)
        waits = part + 1 < settings.accumulate  # ranks add up their gradients at the last part
        with accelerator.no_sync(state.model) if waits else nullcontext():
            losses: Losses = state.model(batch)
            total = losses.generator + losses.critic if all_of_it else losses.critic
            total = total / settings.accumulate
            accelerator.backward(total)
        totals.append(total.detach())
        names.append(batch.names())

    scaler = accelerator.scaler  # fp16 on a GPU only
    norms = {}
    optimizers = {name: state.optimizers[name] for name in chosen}
    for name, optimizer in optimizers.items():
        if scaler is not None:
            scaler.unscale_(optimizer)
        parameters = optimizer.param_groups[0]["params"]
        norms[name] = nn.utils.clip_grad_norm_(parameters, settings.clip or float("inf"))

    bad = ~torch.stack(totals).isfinite()
    # With fp16 an overflowing gradient is the scaler's business: it skips the update.
    bad_norms = ~torch.stack(list(norms.values())).isfinite() if scaler is None else bad[:0]
    counts = torch.stack([bad.sum(), bad_norms.sum(), bad.new_tensor(stop.received).sum()])
    bad_losses, bad_gradients, stops = state.team.sum(counts).tolist()  # the update's only wait
    if bad_losses:
        parts = zip(names, bad.tolist(), strict=True)
        _refuse(state, "loss", [name for part, is_bad in parts if is_bad for name in part])
    if bad_gradients:
        _refuse(state, "gradient", [name for part in names for name in part])

    for optimizer in optimizers.values():
        optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * factor
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
    for optimizer in state.optimizers.values():
        optimizer.zero_grad()
    if scaler is not None:
        scaler.update()
    return losses, norms, stops


def _to_device(batch: Batch, state: RunState) -> Batch:
    batch = batch.to(state.team.device, non_blocking=True)
    if not state.channels_last:
        return batch
    z, x = (
        u.contiguous(memory_format=torch.channels_last) if u.ndim == 4 else u
        for u in (batch.z, batch.x)
    )
    return dataclasses.replace(batch, z=z, x=x)


def _refuse(state: RunState, what: str, mine: list[str]) -> None:
    """Raise the same error in all processes, naming the samples of all of them."""
    samples = [name for names in state.team.gather(mine) for name in names]
    more = f" and {len(samples) - 8} more" if len(samples) > 8 else ""
    path = state.source.path
    of, look = (
        (f"draws of {state.source.name}", "")
        if path is None
        else ("tiles", f"look at them (imgturbo inspect {path}), or ")
    )
    raise ImgturboError(
        f"step {state.progress.step + 1}: the {what} is not finite, no weight was changed; {of}: "
        f"{'; '.join(samples[:8])}{more}; {look}lower train.lr or train.clip"
    )


class _Rate:
    """Samples a second between logged steps."""

    def __init__(self, step: int, samples_a_step: int) -> None:
        self._step, self._time, self._samples = step, time.monotonic(), samples_a_step

    def since_last(self, step: int) -> float:
        now = time.monotonic()
        rate = (step - self._step) * self._samples / (now - self._time)
        self._step, self._time = step, now
        return rate

    def skip(self, seconds: float) -> None:
        """Do not count this time: it went into validation and checkpoints."""
        self._time += seconds


def _log(state: RunState, values: dict[str, Tensor], rate: float, report: WorkProgress) -> None:
    """Every process calls this: losses are averaged over them (of the step's last micro-batch)."""
    stacked = torch.stack([value.float() for value in values.values()])
    means = (state.team.sum(stacked) / state.team.size).tolist()
    numbers = dict(zip(values, means, strict=True))
    numbers["learning_rate"] = state.optimizers["generators"].param_groups[0]["lr"]
    numbers["samples_per_second"] = rate
    numbers["seconds"] = state.progress.seconds
    state.accelerator.log(numbers, step=state.progress.step)
    shown = {"generators": numbers["loss/generator"]}
    if "critics" in state.optimizers:
        shown["critics"] = numbers["loss/critic"]
    report.values(state.progress.step, shown | {"samples/s": rate})
