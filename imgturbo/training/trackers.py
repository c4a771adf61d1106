"""Where a run's numbers go: JSON lines, TensorBoard, and the terminal.

The trackers are Accelerate's, so others (wandb, mlflow, …) plug in at the same place. A resumed run
continues its files: what was logged after the checkpoint it starts from is dropped, for it will be
logged again.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process

from imgturbo.files import write_whole

__all__ = ["JsonlTracker", "start_trackers"]


class JsonlTracker(GeneralTracker):
    """One JSON object a line: ``{"step": n, name: value, …}``; what is not finite is null."""

    name = "jsonl"
    requires_logging_directory = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def tracker(self) -> Path:
        """The file."""
        return self.path

    def rewind(self, step: int) -> None:
        """Drop lines of later steps, and a last line cut short by a kill."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(errors="replace").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue
        write_whole(self.path, "".join(kept).encode())

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **finite}) + "\n")


def start_trackers(accelerator: Accelerator, step: int) -> None:
    """Open the trackers that the accelerator was made with, to go on after ``step``."""
    if accelerator.is_main_process:
        for tracker in accelerator.log_with:
            if isinstance(tracker, JsonlTracker):
                tracker.rewind(step)
    accelerator.init_trackers(
        "tensorboard", init_kwargs={"tensorboard": {"purge_step": step + 1 if step else None}}
    )
