"""Every command that writes, into places where it cannot or must not.

    python -m benchmarks.faults.places --count 500 --seed 0

Inputs and whatever else is the user's are as they were, byte for byte; the command ends in a line,
or has written beside them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.campaign import Limits, Trial, main
from benchmarks.faults.outputs import OUTPUTS, Inputs, run_here
from imgturbo.errors import ImgturboError

PRECIOUS = b"# precious, and the user's\n"
NAMES = [
    "config.yaml", "metrics.jsonl", "samples/mine.txt", "bundle/mine.txt", "checkpoints/mine.txt",
    "hst_f606w.fits", "jwst_f150w.fits", "truth.ecsv", "a.fits", "grey_s001.png", "grey_sheet.png",
    "field_source.fits", "field_target.fits", "mine.txt", "bundle.json", "README.md",
]  # fmt: skip


def _file(out: Path, given: Inputs) -> None:
    out.write_bytes(PRECIOUS)


def _folder(out: Path, given: Inputs) -> None:
    """A folder of the user's, with names that commands write."""
    for name in NAMES:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(PRECIOUS)


def _link_to(name: str) -> Callable[[Path, Inputs], None]:
    return lambda out, given: os.symlink(getattr(given, name), out)


def _hard_link(out: Path, given: Inputs) -> None:
    os.link(given.sky, out)


def _nothing(out: Path, given: Inputs) -> None:
    """No such place."""


def _dangling(out: Path, given: Inputs) -> None:
    os.symlink("nowhere", out)


def _loop(out: Path, given: Inputs) -> None:
    os.symlink(out.name, out)


WAYS: dict[str, tuple[Callable[[Path, Inputs], None], Callable[[Path, Inputs, str], Path]]] = {
    "a file": (_file, lambda here, given, name: here / name),
    "a folder": (_folder, lambda here, given, name: here / name),
    "a link to the sky": (_link_to("sky"), lambda here, given, name: here / name),
    "a link to the tiles": (_link_to("tiles"), lambda here, given, name: here / name),
    "a link to the bundle": (_link_to("bundle"), lambda here, given, name: here / name),
    "a hard link to the sky": (_hard_link, lambda here, given, name: here / name),
    "a link to nowhere": (_dangling, lambda here, given, name: here / name),
    "a link to itself": (_loop, lambda here, given, name: here / name),
    "the sky": (_nothing, lambda here, given, name: given.sky),
    "the target": (_nothing, lambda here, given, name: given.target),
    "the grey picture": (_nothing, lambda here, given, name: given.grey),
    "the config": (_nothing, lambda here, given, name: given.training),
    "the bundle": (_nothing, lambda here, given, name: given.bundle),
    "the tiles": (_nothing, lambda here, given, name: given.tiles),
    "the weights": (_nothing, lambda here, given, name: given.bundle / "decoder.safetensors"),
    "in the bundle": (_nothing, lambda here, given, name: given.bundle / name),
    "in the tiles": (_nothing, lambda here, given, name: given.tiles / name),
    "the inputs' folder": (_nothing, lambda here, given, name: given.folder),
    "below a file": (_nothing, lambda here, given, name: given.sky / name),
    "a place of the kernel's": (_nothing, lambda here, given, name: Path("/proc") / name),
    "a long name": (_nothing, lambda here, given, name: here / ("x" * 300 + name)),
    "a new folder": (_nothing, lambda here, given, name: here / "new" / "deep" / name),
    "an odd name": (_nothing, lambda here, given, name: here / f"a b'é\n{name}"),
}


def build(folder: Path) -> tuple[Inputs, Path]:
    torch.set_num_threads(1)
    given = Inputs(folder / "inputs")
    (given.folder / "kept").mkdir()
    for path in given.folder.iterdir():
        if path.name != "kept":
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, given.folder / "kept" / path.name)
    return given, folder / "here"


def attempt(state: tuple[Inputs, Path], rng: random.Random, _: Path) -> Trial:
    given, here = state
    _restore(given)
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    name, way = rng.choice(sorted(OUTPUTS)), rng.choice(sorted(WAYS))
    output = OUTPUTS[name]
    make, where = WAYS[way]
    out = where(here, given, output.name)
    make(out, given)
    words: list[Any] = output.words(given, out)
    recipe = [f"{name} onto {way}"]
    if name == "train" and rng.random() < 0.5:
        words.append("--fresh")
    elif (
        "--overwrite" in output.replace and rng.random() < 0.3 and way not in ("a file", "a folder")
    ):
        words.append("--overwrite")  # what is not an input may go then
    recipe.append(" ".join(map(str, words)))
    before = given.contents() | _precious(here)
    if name == "prepare":  # it replaces tile stores, and reads none
        before = {path: kept for path, kept in before.items() if given.tiles not in path.parents}

    def changed(_: ImgturboError | int) -> str | None:
        now = given.contents() | _precious(here)
        gone = [str(path) for path, content in before.items() if now.get(path) != content]
        return f"what is the user's was changed: {gone}" if gone else None

    return Trial(recipe, lambda: run_here(words), changed, changed)


def _precious(here: Path) -> dict[Path, bytes]:
    files = [path for path in here.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path: PRECIOUS for path in files if path.read_bytes() == PRECIOUS}


def _restore(given: Inputs) -> None:
    """Whatever an attempt has done to the inputs."""
    for path in given.folder.iterdir():
        if path.name == "kept":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for path in (given.folder / "kept").iterdir():
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, given.folder / path.name)


if __name__ == "__main__":
    main(__spec__.name, __doc__, 500, Limits(seconds=60, space=0))
