"""How many steps fit into a training time: the run's own speed, measured before it starts.

A short run of the same config, 30 steps with one validation, gives

    t₁ = start-up until step 10,   s = seconds a step,   v = seconds a validation,

and n steps with a validation every n / k steps take t₁ + (n − 10) s + k v, which is solved for n.
The time that the run then takes is measured too, and is what the table shows.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgturbo.config import Config
from imgturbo.errors import ImgturboError

__all__ = ["VALIDATIONS", "Speed", "paced", "probe"]

VALIDATIONS = 12  # of a run, spread evenly: every row chooses its best weights among as many
_MARK = 10  # steps


@dataclass(frozen=True)
class Speed:
    """Seconds: until step 10, a step, a validation (with its checkpoint)."""

    startup: float
    step: float
    validation: float

    def steps(self, minutes: float) -> int:
        """How many fit, at least 1."""
        left = 60 * minutes - self.startup - VALIDATIONS * self.validation
        return max(1, _MARK + int(left / self.step))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def paced(config: Config, steps: int) -> Config:
    """``config`` for ``steps`` steps with the benchmark's validations and checkpoints."""
    every = max(1, steps // VALIDATIONS)
    changes = {"steps": steps, "validate_every": every, "checkpoint_every": every}
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def probe(config: Config, folder: Path) -> Speed:
    """Train 30 steps in ``folder``, which is removed afterwards.

    Raises:
        ImgturboError: as training does; or it was stopped.
    """
    from imgturbo.training import train

    changes = {
        "out": folder, "steps": 3 * _MARK, "validate_every": 2 * _MARK, "log_every": _MARK,
        "checkpoint_every": 100 * _MARK, "trackers": ["jsonl"],
    }  # fmt: skip
    settings = config.train.model_copy(update=changes)
    try:
        result = train(config.model_copy(update={"train": settings}), resume=False)
        if not result.finished:
            raise ImgturboError(f"{folder}: the probe was stopped; run the same command again")
        logged = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        clock = {line["step"]: line["seconds"] for line in logged if "seconds" in line}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    startup, plain = clock[_MARK], clock[2 * _MARK] - clock[_MARK]
    with_validation = clock[3 * _MARK] - clock[2 * _MARK]
    return Speed(startup, plain / _MARK, max(0.0, with_validation - plain))
