"""Where a run's numbers go: JSON lines, TensorBoard, and the terminal.

The trackers are Accelerate's, so others (wandb, mlflow, …) plug in at the same place. A resumed run
continues its files: what was logged after the checkpoint it starts from is dropped, for it will be
logged again.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["JsonlTracker", "ProgressReport", "start_trackers"]


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
        aside = self.path.with_name(f".{self.path.name}.part")
        aside.write_text("".join(kept))
        os.replace(aside, self.path)

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


class ProgressReport:
    """A bar with its rate on a terminal, plain lines elsewhere; silent in all but one process."""

    def __init__(self, steps: int, shown: bool) -> None:
        self._console = Console(stderr=True)
        self._steps, self._shown = steps, shown
        self._bar: Progress | None = None
        if shown and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]training"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.description}"),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=steps)

    def __enter__(self) -> ProgressReport:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, step: int) -> None:
        """``step`` updates have been made."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a logged step."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        else:
            self.line(f"step {step}/{self._steps}  {text}")

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """A validation's scores."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.line(f"validation at step {step}: {text or 'no pairs to score'}")

    def line(self, text: str) -> None:
        """A line of its own, such as a validation score or a warning."""
        if not self._shown:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)
