"""Checkpoints that are whole or not there at all, and that hold everything a run needs.

    checkpoints/step-00001000/
        objective.safetensors      weights and buffers of generators and critics
        optimizers.safetensors     the optimisers' moments, by the parameter's name
        ema.safetensors            averaged generators
        pools-0000.safetensors     image pools of process 0, 1, …
        state.json                 step, best score, config, versions
        manifest.json              bytes and sha256 of every file above
    checkpoints/last.json, best.json     pointers: {"checkpoint": name, "step": n}

Order of writing (law 6): into ``tmp-…``, each file and the folder fsynced, then renamed, then the
pointers replaced, and only then are older checkpoints pruned. Whatever the moment of a kill, the
newest folder named ``step-…`` is complete; a disk may still corrupt it, hence the hashes: a damaged
folder, or one that is called after another step than its own, is passed over with a warning, and
the one before it is used.

Tensors are safetensors, the rest is JSON: no pickle is ever loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from safetensors.torch import load_file, save
from torch import Tensor

from imgturbo.config import Config
from imgturbo.data.source import Source
from imgturbo.door import Schema, door, shortened, typed
from imgturbo.engines import settle
from imgturbo.errors import ImgturboError
from imgturbo.files import naming, put_in_place, remove, write_durably
from imgturbo.listing import Entry, read_file
from imgturbo.team import Team

__all__ = [
    "FORMAT",
    "Checkpoint",
    "Checkpoints",
    "differing_key",
]

FORMAT = 1
"""Version of the layout; a checkpoint of a newer one is refused."""

_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,17})")  # one name a step
_AGAIN = "remove that folder, and the run goes on from the one before"
_NEEDED = ("objective.safetensors", "optimizers.safetensors", "ema.safetensors", "state.json")

_MAY_DIFFER = (
    "name",
    "prepare",  # what the tiles are is compared by their digest, wherever they lie
    "data.tiles",
    "data.workers",
    "train.out",
    "train.steps",
    "train.validate_every",
    "train.validate_tiles",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.trackers",
    "train.select",
    "train.compile",
    "train.channels_last",
)


# --------------------------------------------------------------------------------- reading


class _Stamp(Schema):
    format: int = Field(ge=1)


_File = Annotated[
    str, Field(pattern=r"^(state\.json|(objective|optimizers|ema|pools-[0-9]{4,9})\.safetensors)$")
]


class _Manifest(_Stamp):
    files: dict[_File, Entry]


class Best(Schema):
    """The best weights so far: their step, None before there are any, and their scores."""

    step: int | None = Field(ge=0)
    scores: dict[str, float] = Field(default_factory=dict)


class State(Schema):
    """Contents of ``state.json``, as :meth:`imgturbo.training.state.RunState.save` writes it."""

    step: int = Field(ge=0)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    best: Best
    initial: str | None = None
    processes: int = Field(1, ge=1)
    scaler: dict[str, int | float] | None = None
    tiles: str
    device: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    path: Path

    @property
    def step(self) -> int:
        """Updates made when it was written."""
        match = _NAME.fullmatch(self.path.name)
        assert match is not None
        return int(match[1])

    @cached_property
    def state(self) -> State:
        """Contents of ``state.json``.

        Raises:
            ImgturboError: it cannot be read, or is none.
        """
        return typed(State, self._text("state.json"), self.path / "state.json", _AGAIN)

    def tensors(self, name: str, optional: bool = False) -> dict[str, Tensor]:
        """Tensors of ``<name>.safetensors`` on the CPU.

        Raises:
            ImgturboError: it cannot be read; it is missing, unless it is ``optional``.
        """
        file = self.path / f"{name}.safetensors"
        if optional and not file.exists():
            return {}
        with door(self.path, file.name, _AGAIN):
            return load_file(file)

    def damage(self) -> str | None:
        """What is wrong with the folder, in a line; None if every hash agrees.

        Raises:
            ImgturboError: nothing is, but it is of a newer format.
        """
        try:
            text, file = self._text("manifest.json"), self.path / "manifest.json"
            version = typed(_Stamp, text, file, _AGAIN).format
            if version <= FORMAT:
                self._refuse_damage(typed(_Manifest, text, file, _AGAIN).files)
        except ImgturboError as error:
            return str(error).removeprefix(f"{self.path}: ")
        if version > FORMAT:
            raise ImgturboError(
                f"{self.path}: a checkpoint of format {version}, this imgturbo reads up to "
                f"{FORMAT}; update imgturbo"
            )
        return None

    def _text(self, name: str) -> bytes:
        return read_file(self.path, name, _AGAIN)

    def _refuse_damage(self, files: Mapping[str, Entry]) -> None:
        with door(self.path, remedy=_AGAIN, what="cannot be looked at"):
            there = {file.name for file in self.path.glob("*.safetensors")}
        if unlisted := sorted({*there, *_NEEDED} - {*files}):
            raise ImgturboError(f"{self.path}: {unlisted[0]} is not in its manifest; {_AGAIN}")
        for name, entry in files.items():
            entry.check(self.path, name, _AGAIN)
        if _NAME.fullmatch(self.path.name) and self.state.step != self.step:
            raise ImgturboError(
                f"{self.path}: it is of step {self.state.step}, not of the step that it is called "
                f"after; {_AGAIN}"
            )

    def refuse_other(self, config: Config, source: Source) -> None:
        """Raise ImgturboError, naming the key, where this run has another config or other data."""
        start_anew = "choose another 'train.out', or start anew (imgturbo train --fresh)"
        before: Any = self.state.config
        # Keys that are younger than the run have their defaults.
        with suppress(ValidationError, ImgturboError):
            before = settle(Config.model_validate(before)).model_dump(mode="json")
        if difference := differing_key(before, config.model_dump(mode="json")):
            key, saved, asked = difference
            raise ImgturboError(
                f"{self.path}: this run was started with {key} = {shortened(repr(saved))}, not "
                f"{shortened(repr(asked))}; "
                f"set it back, {start_anew}"
            )
        if self.state.tiles == source.digest:
            return
        if source.path is None:
            raise ImgturboError(
                f"{self.path}: this run was started on other data than {source.name} draws in this "
                f"version of imgturbo; install the one that began it, {start_anew}"
            )
        raise ImgturboError(
            f"{self.path}: this run was started on other tiles than {source.path} holds now; "
            f"give 'data.tiles' the former, {start_anew}"
        )


def differing_key(saved: Any, asked: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """First key, in dots, at which two configs differ and must not; None if they may go on."""
    if key in _MAY_DIFFER or saved == asked:
        return None
    if not isinstance(saved, dict) or not isinstance(asked, dict):
        return key, saved, asked
    for name in [*asked, *(name for name in saved if name not in asked)]:
        inner = f"{key}.{name}" if key else name
        if difference := differing_key(saved.get(name), asked.get(name), inner):
            return difference
    return None


class Checkpoints:
    """The folder of a run's checkpoints.

    Args:
        folder: ``<out>/checkpoints``, made when first written to.
        keep: how many are kept besides the best.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        self.folder, self.keep = folder, keep

    def all(self) -> list[Checkpoint]:
        """Every folder named as one, newest first, whatever its state."""
        with door(self.folder, remedy="choose another 'train.out'", what="cannot be looked at"):
            if not self.folder.is_dir():
                return []
            found = [Checkpoint(p) for p in self.folder.iterdir() if _NAME.fullmatch(p.name)]
        return sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True)

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step, which may or may not exist."""
        return Checkpoint(self.folder / f"step-{step:08d}")

    def latest(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """The newest undamaged one; says through ``warn`` which ones it had to pass over."""
        for checkpoint in self.all():
            damage = checkpoint.damage()
            if damage is None:
                return checkpoint
            warn(f"warning: {checkpoint.path} is passed over: {damage}")
        return None

    # ----------------------------------------------------------------------------- writing

    def write(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        own: Mapping[str, Tensor],
        state: Mapping[str, Any],
        team: Team,
    ) -> Checkpoint:
        """Write a checkpoint. Every process calls this; all return, or all raise.

        Args:
            step: updates made so far.
            tensors: by file name without suffix; the same in all processes, written by the first.
            own: this process's image pools.
            state: JSON; ``state["best"]["step"]`` names the checkpoint that is never pruned.
            team: the processes.

        Raises:
            ImgturboError: the disk is full or not writable; earlier checkpoints are as they were.
        """
        final = self.at(step).path
        aside = self.folder / f"tmp-{final.name}"
        mine = f"pools-{team.rank:04d}.safetensors"
        remedy = "make room, then run the same command to continue from the one before"
        try:
            with naming(final, remedy, "the checkpoint cannot be written"):
                with team.together():
                    if team.first:
                        remove(aside)
                        aside.mkdir(parents=True)
                with team.together():
                    if own:
                        write_durably(aside / mine, _serialise(own))
                with team.together():
                    if team.first:
                        self._finish(aside, final, tensors, state)
        except ImgturboError:
            if team.first:
                remove(aside)
            raise
        return Checkpoint(final)

    def _finish(
        self,
        aside: Path,
        final: Path,
        tensors: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, Any],
    ) -> None:
        for name, contents in tensors.items():
            write_durably(aside / f"{name}.safetensors", _serialise(contents))
        write_durably(aside / "state.json", _json(state))
        files = {path.name: Entry.of(path).model_dump() for path in sorted(aside.iterdir())}
        write_durably(aside / "manifest.json", _json({"format": FORMAT, "files": files}))
        if final.exists():  # a damaged one that was passed over on resume
            self._remove(final)
        put_in_place(aside, final)
        step, best = Checkpoint(final).step, state["best"]["step"]
        self._point("last", step)
        if best is not None:
            self._point("best", best)
        self._prune(step, best)

    def _point(self, name: str, step: int) -> None:
        aside = self.folder / f"tmp-{name}.json"
        write_durably(aside, _json({"checkpoint": self.at(step).path.name, "step": step}))
        put_in_place(aside, self.folder / f"{name}.json")

    def _prune(self, step: int, best: int | None) -> None:
        """Remove all but the best and the newest; later ones are of a course that was abandoned."""
        steps = [checkpoint.step for checkpoint in self.all()]
        kept = {*[s for s in steps if s <= step][: self.keep], best}
        for old in steps:
            if old not in kept:
                self._remove(self.at(old).path)
        for path in self.folder.glob("tmp-*"):
            remove(path)

    def _remove(self, path: Path) -> None:
        """Take the name away first, so that a half-deleted folder never looks like a checkpoint."""
        doomed = self.folder / f"tmp-removed-{path.name}"
        path.rename(doomed)
        remove(doomed)


def _serialise(tensors: Mapping[str, Tensor]) -> bytes:
    return save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
