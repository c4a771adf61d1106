"""Every command that writes: its words, and what it leaves, for campaigns that disturb the writing.

Commands run in this process, by the same door as on a command line, so that hundreds of them take
minutes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from PIL import Image

from benchmarks.faults.campaign import Defect
from benchmarks.faults.small import make_bundle, make_sky, make_training
from imgturbo.bundle import load_bundle
from imgturbo.cli.main import main
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky, write_sky
from imgturbo.training.checkpoint import Checkpoint

__all__ = ["OUTPUTS", "Inputs", "Output", "damaged", "run_here"]

_COLOURS = "kodak-colours"


class Inputs:
    """Small files that the commands read, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.sky = make_sky(folder / "sky.fits", 96, 96)
        image = read_sky(self.sky)
        single = type(image).from_array(
            0.5 * image.data[:1], wcs=image.wcs, unit="MJy/sr", bands=["F150W"]
        )
        self.target = write_sky(folder / "target.fits", single)
        self.bundle = make_bundle(folder / "bundle")
        self.training = make_training(folder, steps=4, validate_every=2)
        self.tiles = folder / "tiles.zarr"
        self.grey = folder / "grey.png"
        ramp = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (32, 1))
        Image.fromarray(ramp).save(self.grey)
        self.fields = folder / "fields.csv"
        self.fields.write_text("field,file\na,sky.fits\nb,sky.fits\n")

    def contents(self) -> dict[Path, bytes]:
        """Every file, by its path."""
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Output:
    """A command that writes.

    Args:
        words: of inputs and the place of the output.
        name: of the output.
        replace: words that let it replace an older one, and change it.
    """

    words: Callable[[Inputs, Path], list[Any]]
    name: str
    replace: tuple[str, ...] = ()


def _prepare(given: Inputs, out: Path) -> list[Any]:
    return [
        "prepare", "--source", given.sky, "--target", given.target, "--out", out,
        "prepare.register.method=none", "prepare.tile.size=16", "prepare.tile.min_valid=0.5",
        "prepare.split.guard=0",
    ]  # fmt: skip


_OVER = ("--overwrite",)
_LATENT = ["latent", "saturation", "--bundle", _COLOURS]
OUTPUTS = {
    "simulate": Output(lambda g, o: ["simulate", "--out", o, "--size", 64], "sim"),
    "prepare": Output(_prepare, "t.zarr", ("prepare.tile.stride=12",)),
    "aligned": Output(
        lambda g, o: [*_prepare(g, o.with_name("al.zarr")), "--aligned", o],
        "al",
        ("prepare.tile.stride=12", *_OVER),
    ),
    "train": Output(
        lambda g, o: ["train", g.training, f"train.out={o}"], "run", ("train.steps=8",)
    ),
    "translate": Output(
        lambda g, o: ["translate", "--bundle", g.bundle, g.sky, "--out", o], "out.fits", _OVER
    ),
    "picture": Output(
        lambda g, o: ["translate", "--bundle", g.bundle, g.sky, "--out", o], "out.tif", _OVER
    ),
    "manifest": Output(
        lambda g, o: ["translate", "--bundle", g.bundle, "--manifest", g.fields, "--out-dir", o],
        "fields",
        _OVER,
    ),
    "export": Output(lambda g, o: ["export", g.bundle, o], "b", ("--half",)),
    "colorize": Output(
        lambda g, o: ["colorize", "--bundle", _COLOURS, g.grey, "--samples", 1, "--out", o],
        "c",
        _OVER,
    ),
    "latent": Output(lambda g, o: [*_LATENT, g.grey, "--samples", 1, "--out", o], "s.png"),
    "evaluate": Output(lambda g, o: ["evaluate", g.target, g.target, "--json", o], "e.json"),
}


def run_here(words: list[Any]) -> int:
    """Run a command in this process; its status.

    Raises:
        ImgturboError: with the line that it ended in, where the status is 2.
        Defect: it ended in more than one line.
    """
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("error: ")]
    if code == 2 and len(lines) == 1:
        raise ImgturboError(lines[0].removeprefix("error: "))
    if code not in (0, 1) or lines:
        raise Defect("exit", f"status {code}: {said.getvalue()[-500:]}")
    return code


def damaged(path: Path) -> str | None:
    """What is wrong with anything that has a final name in an output; None if all is whole."""
    for file in [path, *path.rglob("*")] if path.exists() else []:
        if any(part.startswith(".") for part in file.relative_to(path.parent).parts):
            continue
        if "tmp-" in str(file.relative_to(path.parent)):
            continue
        try:
            _open(file)
        except (ImgturboError, OSError, ValueError, SyntaxError) as error:
            return f"{file.name} is damaged: {error}"
    return None


def _open(file: Path) -> None:
    if file.suffix == ".zarr":
        store = TileStore.open(file)
        for split in ("train", "validation"):
            np.asarray(store.split(split).target[:])  # type: ignore[arg-type]
    elif file.name in ("b", "bundle"):
        load_bundle(file)
    elif file.name.startswith("step-") and file.is_dir():
        found = Checkpoint(file).damage()
        if found:
            raise ValueError(found)
    elif file.suffix == ".fits":
        with fits.open(file, checksum=True) as hdus:
            for hdu in hdus:
                np.asarray(hdu.data)
    elif file.suffix in (".png", ".tif"):
        with Image.open(file) as picture:
            picture.load()
