"""Where a run's numbers go: JSON lines, TensorBoard, and every other tracker of Accelerate's.

``train.trackers`` names them: ``jsonl`` (ours), whatever ``accelerate.utils.LoggerType`` lists
(tensorboard, wandb, mlflow, comet_ml, aim, clearml, dvclive, swanlab, trackio, …; ``all`` for those
that are installed), and what was registered by ``accelerate.tracking.register_tracker_class``.

A resumed run continues its files: what was logged after the checkpoint it starts from is dropped,
for it will be logged again. Services that keep the numbers elsewhere see a new run of the project,
which is called as the config's ``name``, at the same steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import (
    LOGGER_TYPE_TO_CLASS,
    GeneralTracker,
    get_available_trackers,
    on_main_process,
)
from accelerate.utils import LoggerType

from imgturbo.config import Config
from imgturbo.door import Schema, door, typed
from imgturbo.errors import ImgturboError
from imgturbo.files import write_whole

__all__ = ["JsonlTracker", "resolve_trackers", "start_trackers"]

_ALL = "all"
_IN_THE_FOLDER = ("jsonl", "tensorboard")
"""Those that write into the run's folder, where ``config.yaml`` lies beside them."""


class _Line(Schema):
    step: int


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
        remedy = "move it away, or choose another 'train.out'"
        with door(self.path, remedy=remedy, what="cannot be read"):
            if not self.path.is_file():
                return
            lines = self.path.read_bytes().splitlines()
        kept = []
        for line in lines:
            with suppress(ImgturboError):  # what is no line of ours has no step to go back to
                if typed(_Line, line, self.path, remedy).step <= step:
                    kept.append(line.decode() + "\n")
        write_whole(self.path, "".join(kept).encode())

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **finite}) + "\n")


def resolve_trackers(names: Sequence[str]) -> list[str]:
    """The trackers that ``train.trackers`` asks for, each once, all of them installed.

    Raises:
        ImgturboError: a name that nobody has registered, or a package that is not installed.
    """
    installed = [str(kind.value) for kind in get_available_trackers()]
    services = [str(kind.value) for kind in LoggerType if kind.value != _ALL]
    # An Accelerate without ``register_tracker_class`` holds its own classes there.
    registered = [name for name in LOGGER_TYPE_TO_CLASS if name not in services]
    asked = [each for name in names for each in (installed if name == _ALL else [name])]
    for name in asked:
        if name in services and name not in installed:
            raise ImgturboError(
                f"train.trackers: the package of {name} is not installed; pip install {name}, or "
                "take it off the list"
            )
        if name not in ["jsonl", *services, *registered]:
            known = ["jsonl", *services, *registered, _ALL]
            raise ImgturboError(
                f"train.trackers: there is no tracker {name!r}; choose from {', '.join(known)}"
            )
    return list(dict.fromkeys(asked))


def start_trackers(accelerator: Accelerator, config: Config, step: int) -> None:
    """Open the trackers of ``train.trackers``, to go on after ``step``.

    Raises:
        ImgturboError: no such tracker, or one that does not start.
    """
    names = resolve_trackers(config.train.trackers)
    accelerator.log_with = [_make(name, config, step) for name in names]
    if accelerator.is_main_process:
        for tracker in accelerator.log_with:
            if isinstance(tracker, JsonlTracker):
                tracker.rewind(step)
    elsewhere = [name for name in names if name not in _IN_THE_FOLDER]
    try:
        accelerator.init_trackers(config.name)
        # Accelerate opens them in the main process alone.
        for name, tracker in zip(names, accelerator.trackers, strict=False):
            if name in elsewhere:
                tracker.store_init_configuration(_flat(config.model_dump(mode="json")))
    except Exception as error:  # every service has errors of its own: no account, no network, …
        if not elsewhere:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImgturboError(
            f"train.trackers: {' or '.join(elsewhere)} does not start ({reason}); set it "
            "up as its documentation says, or take it off the list"
        ) from error


def _make(name: str, config: Config, step: int) -> GeneralTracker:
    out = config.train.out
    if name == "jsonl":
        return JsonlTracker(out / "metrics.jsonl")
    kind = LOGGER_TYPE_TO_CLASS[name]
    if name == "tensorboard":  # its first argument names a folder here
        return kind(name, str(out), purge_step=step + 1 if step else None)
    return kind(config.name, str(out)) if kind.requires_logging_directory else kind(config.name)


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, str | float | bool | None]:
    """``{"train": {"lr": 1}}`` as ``{"train.lr": 1}``, lists as text: what every service takes."""
    found: dict[str, str | float | bool | None] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        else:
            plain = isinstance(value, str | int | float | None)
            found[f"{above}{key}"] = value if plain else json.dumps(value)
    return found
