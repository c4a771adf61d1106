"""Everything of a run that changes from step to step, and how it is saved and taken up again."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import accelerate
import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

import imgturbo
from imgturbo.config import Config
from imgturbo.data.source import Source
from imgturbo.door import door
from imgturbo.engines import build_trainable
from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.losses import Trainable
from imgturbo.team import Team
from imgturbo.training.checkpoint import Checkpoint, Checkpoints
from imgturbo.training.ema import EMA
from imgturbo.training.initial import start_at_bundle, start_at_colours
from imgturbo.training.muon import Muon, is_matrix
from imgturbo.training.processor import channels_last, check_compiler
from imgturbo.training.seeds import INITIAL, seed_step
from imgturbo.training.selection import Selection
from imgturbo.training.tensors import (
    copy_tensors,
    load_optimizer_tensors,
    named_tensors,
    optimizer_tensors,
)
from imgturbo.training.unpaired import refuse_unscored

if TYPE_CHECKING:
    from imgturbo.data.source import Source

__all__ = ["Progress", "RunState", "device_name", "versions"]


@dataclass
class Progress:
    """What changes besides tensors."""

    step: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_scores: dict[str, float] = field(default_factory=dict)
    initial: str | None = None  # hash of the bundle that the weights are from


class RunState:
    """Networks, optimisers, averages, image pools and counters of one process.

    The config is a settled one (see :func:`imgturbo.engines.settle`).

    Attributes:
        objective: the networks that are trained and their losses, of any engine.
        selection: the score that tells the best weights.
        model: the same, as Accelerate wrapped it; what the loop calls.
        optimizers: ``generators`` and, where there are any, ``critics``.
        ema: averaged generators.
        source: the training data, as this process reads them.
        progress: step, seconds, the best so far.
    """

    def __init__(
        self, config: Config, source: Source, accelerator: Accelerator, team: Team
    ) -> None:
        self.config, self.team, self.accelerator = config, team, accelerator
        self.source = source.share(team.rank, team.size)
        self.progress = Progress()

        seed_step(config.seed, INITIAL, 0, 0)  # all processes start from the same weights
        self.objective: Trainable = build_trainable(config, source.source, source.target)
        assert config.train.select is not None  # of a settled config
        self.selection = Selection.named(config.train.select, self.objective)
        self.objective.check(source)
        refuse_unscored(self.selection.score, source)
        self._refuse_idle(source)
        self.channels_last = source.extent is not None and channels_last(
            config.train.channels_last, self.objective, team.device
        )
        if self.channels_last:
            self.objective.to(memory_format=torch.channels_last)
        self.objective.to(team.device)
        generators = self.objective.maps()
        self.ema = EMA(generators, config.train.ema)
        if config.train.compile:
            check_compiler(team.device)
            self.objective.compile()
        self.model: nn.Module = accelerator.prepare(self.objective)
        self.optimizers = self._optimizers()
        if (config.train.critic_steps or 1) > 1 and "critics" not in self.optimizers:
            raise ImgturboError(
                f"train.critic_steps is {config.train.critic_steps}, but this objective has no "
                "critic; leave it out, or give objective.marginal a weight"
            )
        self._names: dict[Tensor, str] = {
            parameter: name for name, parameter in self.objective.named_parameters()
        }

    def _refuse_idle(self, source: Source) -> None:
        """Refuse a weight that the config gives to a term in which none of the samples counts."""
        given = [output for output, weight in self.config.objective.paired.items() if weight]
        idle = self.objective.idle_terms(source) if given else []
        for output in given:
            if f"L/{output}" in idle:
                weight = self.config.objective.paired[output]
                why = "is a pair" if source.pairs == 0 else "is measured on both sides at once"
                raise ImgturboError(
                    f"{source.name}: objective.paired.{output} is {weight:g}, but no training "
                    f"sample {why}, so that this term never counts; set it to 0, or give pairs"
                )

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """They are not given to ``accelerator.prepare``.

        Its wrapper updates the fp16 scaler at each optimiser's step, so that two optimisers would
        unscale one gradient twice.
        """
        settings = self.config.train
        generators = self.objective.generator_parameters()
        matrices = [w for w in generators if settings.optimizer == "muon" and is_matrix(w)]
        taken = {id(weight) for weight in matrices}
        groups = {
            "generators": (settings.lr, [w for w in generators if id(w) not in taken]),
            "critics": (settings.critic_lr or settings.lr, self.objective.critic_parameters()),
        }
        optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.AdamW(
                weights,
                lr=rate,
                betas=settings.betas,
                weight_decay=settings.weight_decay,
                fused=self.team.device.type in ("cpu", "cuda"),
            )
            for name, (rate, weights) in groups.items()
            if weights
        }
        if matrices:
            decay = settings.weight_decay
            optimizers["matrices"] = Muon(matrices, lr=settings.lr, weight_decay=decay)
        return optimizers

    @property
    def stale(self) -> bool:
        """Whether ``train.patience`` validations have brought nothing better than the best."""
        settings, best = self.config.train, self.progress.best_step
        if settings.patience is None or best is None:
            return False
        return self.progress.step - best >= settings.patience * settings.validate_every

    def writing(self) -> AbstractContextManager[None]:
        """A block that writes into the run's folder: what fails there is one line that names it."""
        remedy = "make room, or choose another 'train.out'"
        return naming(self.config.train.out, remedy, "the run's folder cannot be written")

    def begin(self) -> None:
        """Before the first step: weights of ``train.init``, else the best affine colour maps."""
        generators = self.objective.maps()
        if self.config.train.init is not None:
            self.progress.initial = start_at_bundle(generators, self.config.train.init)
        else:
            start_at_colours(generators, self.source, self.objective.observe)
        self.ema.restart()

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint; every process calls this."""
        progress, scaler = self.progress, self.accelerator.scaler
        moments: dict[str, Tensor] = {}
        for name, optimizer in self.optimizers.items():
            for key, value in optimizer_tensors(optimizer, self._names).items():
                moments[f"{name}/{key}"] = value
        checkpoints.write(
            progress.step,
            {
                "objective": named_tensors(self.objective),
                "optimizers": moments,
                "ema": named_tensors(self.ema.networks),
            },
            self.objective.state_beside(),
            {
                "step": progress.step,
                "seconds": round(progress.seconds, 3),
                "best": {"step": progress.best_step, "scores": progress.best_scores},
                "initial": progress.initial,
                "processes": self.team.size,
                "scaler": None if scaler is None else scaler.state_dict(),
                "tiles": self.source.digest,
                "device": device_name(self.team),
                "versions": versions(),
                "config": self.config.model_dump(mode="json"),
            },
            self.team,
        )

    def resume(self, checkpoints: Checkpoints, say: Callable[[str], None]) -> None:
        """Take up the newest undamaged checkpoint, the first process's choice, if there is one.

        Raises:
            ImgturboError: in all processes, if it is of another config or other data.
        """
        found: Checkpoint | None = None
        with self.team.together():
            if self.team.first:
                found = checkpoints.latest(say)
            if found is not None:
                found.refuse_other(self.config, self.source)
        checkpoint: Checkpoint | None = self.team.share(found)
        if checkpoint is None:
            return
        saved, where = checkpoint.state, checkpoint.path
        copy_tensors(named_tensors(self.objective), checkpoint.tensors("objective"), where)
        copy_tensors(named_tensors(self.ema.networks), checkpoint.tensors("ema"), where)
        moments = checkpoint.tensors("optimizers")
        for name, optimizer in self.optimizers.items():
            prefix = f"{name}/"
            own = {k.removeprefix(prefix): v for k, v in moments.items() if k.startswith(prefix)}
            load_optimizer_tensors(optimizer, self._names, own, where)
        if self.accelerator.scaler is not None and saved.scaler is not None:
            with door(where, "the scaler in state.json", "start anew (imgturbo train --fresh)"):
                self.accelerator.scaler.load_state_dict(saved.scaler)
        pools = checkpoint.tensors(f"pools-{self.team.rank:04d}", optional=True)
        if pools:
            with door(where, "an image pool", "start anew (imgturbo train --fresh)"):
                self.objective.load_state_beside(pools)
        if saved.processes != self.team.size:
            say(
                f"warning: continued with {self.team.size} processes instead of "
                f"{saved.processes}: the order of the data differs, image pools may start empty"
            )
        self.progress = Progress(
            saved.step, saved.seconds, saved.best.step, saved.best.scores, saved.initial
        )
        say(f"continuing from {where}")


def device_name(team: Team) -> str:
    """Such as ``2 × NVIDIA H100``."""
    name = (
        torch.cuda.get_device_name(team.device)
        if team.device.type == "cuda"
        else f"{platform.machine()} {team.device.type}"
    )
    return f"{team.size} × {name}" if team.size > 1 else name


def versions() -> dict[str, str]:
    """Of what a result may depend on."""
    return {
        "imgturbo": imgturbo.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
        "numpy": np.__version__,
    }
