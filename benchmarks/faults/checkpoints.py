"""Damaged checkpoints: files cut, flipped, removed, added, exchanged, edited; stray names; copies.

    python -m benchmarks.faults.checkpoints [--count 10000] [--seed 0] [--workers 2]

A run's folder holds the steps 3, 6 and 9. A run that resumes from it after the damage must be the
one that was saved at the step that it takes up: the newest, or an older one with a warning, or a
fresh start with warnings, or an error in one line. Of forged files, whose hashes are made to agree,
nothing is expected but one of these ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator

from benchmarks.faults.campaign import Limits, Trial, main
from benchmarks.faults.edits import cut, edit_json, edit_weights, flip
from benchmarks.faults.tiles import make as make_tiles
from benchmarks.faults.wholes import Tree
from imgturbo.config import Config
from imgturbo.data import open_source
from imgturbo.data.source import Source
from imgturbo.describe import describe
from imgturbo.engines import settle
from imgturbo.errors import ImgturboError
from imgturbo.listing import Entry
from imgturbo.team import Team
from imgturbo.training.checkpoint import Checkpoints
from imgturbo.training.state import RunState
from imgturbo.training.tensors import named_tensors, optimizer_tensors

STEPS = (3, 6, 9)
ELSEWHERE = "../../../precious.txt"
"""A file beside the run, to which a link may point: it must be there at the end as it was."""
PRECIOUS = "precious"


class State(NamedTuple):
    """A run's folder as it was left, and what the runs are that resume from its steps."""

    config: Config
    source: Source
    accelerator: Accelerator
    left: Tree
    known: dict[int, str]

    def start(self) -> RunState:
        """A run before its first step."""
        team = Team(0, 1, self.accelerator.device)
        return RunState(self.config, self.source, self.accelerator, team)


def settings(folder: Path) -> Config:
    """A run of a few hundred weights."""
    return settle(
        Config.model_validate(
            {
                "name": "tiny",
                "seed": 3,
                "data": {"tiles": str(make_tiles(folder / "tiles.zarr")), "batch_size": 2},
                "model": {
                    "decoder": {"kind": "unet", "width": 3, "depth": 1, "blocks": 1},
                    "critic": {"width": 3, "layers": 1},
                },
                "objective": {"preset": "turbo", "pool": 3},
                "train": {"steps": 9, "out": str(folder / "run"), "keep": 9, "trackers": []},
            }
        )
    )


def digest(run: RunState) -> str:
    """Of every tensor that a resumed run must repeat."""
    tensors = {f"o/{k}": v for k, v in named_tensors(run.objective).items()}
    tensors |= {f"e/{k}": v for k, v in named_tensors(run.ema.networks).items()}
    for name, optimizer in run.optimizers.items():
        moments = optimizer_tensors(optimizer, run._names)
        tensors |= {f"{name}/{k}": v for k, v in moments.items()}
    tensors |= {f"p/{k}": v for k, v in run.objective.state_beside().items()}
    parts = [k.encode() + v.detach().cpu().numpy().tobytes() for k, v in sorted(tensors.items())]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def build(folder: Path) -> State:
    torch.set_num_threads(1)
    config, place = settings(folder), folder / "left"
    state = State(config, open_source(config), Accelerator(cpu=True), Tree([], {}), {})
    run, checkpoints = state.start(), Checkpoints(place, keep=9)
    state.known[0] = digest(run)
    for step in range(1, max(STEPS) + 1):
        _train(run, step)
        if step in STEPS:
            run.progress.step = step
            run.save(checkpoints)
            state.known[step] = digest(run)
    return state._replace(left=Tree.of(place))


def _train(run: RunState, step: int) -> None:
    """An update of every weight by made-up gradients, and a full pool."""
    losses = run.objective(run.source.batch(step))
    del losses
    torch.manual_seed(step)
    for parameter in run.objective.parameters():
        parameter.grad = torch.randn_like(parameter)
    for optimizer in run.optimizers.values():
        optimizer.step()
    run.ema.update(step)


def attempt(state: State, rng: random.Random, folder: Path) -> Trial:
    place = folder / "run" / "checkpoints"
    shutil.rmtree(folder / "run", ignore_errors=True)
    state.left.put(place)
    precious = folder / "precious.txt"
    precious.write_text(PRECIOUS)
    recipe: list[str] = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        recipe.append(harm(place, rng))
    said: list[str] = []

    def call() -> RunState:
        with contextlib.suppress(ImgturboError):
            describe(place.parent)
        run = state.start()
        run.resume(Checkpoints(place), said.append)
        return run

    return Trial(recipe, call, _check(state, precious, recipe, said))


def _check(
    state: State, precious: Path, recipe: list[str], said: list[str]
) -> Callable[[RunState], str | None]:
    forged = any("forged" in line for line in recipe)
    removed = any(line.endswith("folder removed") for line in recipe)

    def check(run: RunState) -> str | None:
        if precious.read_text() != PRECIOUS:
            return f"a file to which a link points was changed: {recipe}"
        if forged:
            return None
        step, warned = run.progress.step, any(line.startswith("warning") for line in said)
        if state.known.get(step) != digest(run):
            return f"the run is none that was saved: step {step} {recipe}"
        if step != max(STEPS) and not warned and not removed:
            return f"an older checkpoint is taken up without a word: step {step} {recipe}"
        return None

    return check


def harm(place: Path, rng: random.Random) -> str:
    """Damage one thing of the checkpoints; says what."""
    step = rng.choice([9, 9, 9, 9, 6, 3])
    here = place / f"step-{step:08d}"
    files = list(here.iterdir()) if here.is_dir() else []
    # Never through a link that an earlier harm has made: what it points to is somebody's.
    names = sorted(f.name for f in files if f.is_file() and not f.is_symlink())
    if not names:
        return "nothing"
    name = rng.choice(names)
    file = here / name
    what = rng.choice(["cut", "bit", "bit", "flip", "flip", "missing", "add", "edit", "edit",
                       "edit", "exchange", "folder", "stray", "pointer", "forge", "forge", "link",
                       "copy", "made a folder"])  # fmt: skip
    if what in ("cut", "bit", "flip"):
        raw = file.read_bytes()
        if what == "bit" and raw:
            at = rng.randrange(len(raw))
            raw = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
        file.write_bytes(
            cut(raw, rng) if what == "cut" else flip(raw, rng) if what == "flip" else raw
        )
    elif what == "missing":
        file.unlink()
    elif what == "edit":
        name = rng.choice(["manifest.json", "manifest.json", "state.json"])
        return f"{step}/{name}: {_edited(here / name, rng)}"
    elif what == "forge":
        return f"{step}/{name} forged: {_forged(here, name, rng)}"
    elif what == "exchange":
        other = place / f"step-{rng.choice(STEPS):08d}" / name
        if other.is_file() and not other.is_symlink():
            one, two = file.read_bytes(), other.read_bytes()
            file.write_bytes(two)
            other.write_bytes(one)
    elif what == "folder":
        shutil.rmtree(here)
        return f"{step}: folder removed"
    elif what == "link":
        file.unlink()
        os.symlink(rng.choice([ELSEWHERE, "/dev/zero", name, "/nowhere", ".."]), file)
    elif what == "made a folder":
        file.unlink()
        file.mkdir()
    else:
        return _beside(place, here, what, rng)
    return f"{step}/{name}: {what}"


def _beside(place: Path, here: Path, what: str, rng: random.Random) -> str:
    """Something that was not there."""
    names = {
        "add": ["x", "pools-0001.safetensors", "model.pkl", ".DS_Store"],
        "stray": [
            "step-00000012",
            "step-99999999",
            "step-000000012",
            "tmp-step-00000012",
            "step-1",
        ],
        "pointer": ["last.json", "best.json"],
        "copy": ["step-00000099", "step-00000010", "step-00000009-copy", "step-000000099"],
    }
    name = rng.choice(names[what])
    target = (here if what == "add" else place) / name
    if what == "copy" and not target.exists():
        shutil.copytree(here, target, symlinks=True)
    elif what == "stray" and rng.random() < 0.5 and not target.exists():
        target.mkdir()
    elif what == "pointer" or not target.exists():
        target.write_bytes(rng.choice([b"", b"{", b"[]", b'{"step": 99}']))
    return f"{here.name}: {what} {name}"


def _edited(file: Path, rng: random.Random) -> str:
    if file.is_symlink():
        return "nothing"
    try:
        tree = json.loads(file.read_bytes())
        said = edit_json(tree, rng)
        file.write_text(json.dumps(tree))
    except (OSError, ValueError, RecursionError):
        return "nothing"
    return said


def _forged(here: Path, name: str, rng: random.Random) -> str:
    """Edit a file and let its hash agree."""
    file, manifest = here / name, here / "manifest.json"
    if name.endswith(".json"):
        note = _edited(file, rng)
    else:
        data, note = edit_weights(file.read_bytes(), rng)
        file.write_bytes(data)
    if manifest.is_symlink():
        return "nothing"
    try:
        content = json.loads(manifest.read_bytes())
        if name in content["files"]:
            content["files"][name] = Entry.of(file).model_dump()
            manifest.write_text(json.dumps(content))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "nothing"
    return note


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000, Limits(space=8.0))
