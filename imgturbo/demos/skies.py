"""Patches of simulated sky: what is in them, their files, their two images on one grid."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgturbo.config import FieldConfig, PrepareConfig
from imgturbo.report.progress import task

if TYPE_CHECKING:
    from data_prep.simulate import SimulatedPair

__all__ = ["Sky", "align", "field_of"]


@dataclass(frozen=True)
class Sky:
    """One patch of simulated sky.

    Attributes:
        name: of its folder and its files.
        pixels: its side, in pixels of the Webb-like camera.
        seed: is added to the one that it is simulated with.
        star_density, density: stars and galaxies a square arcmin.
        cluster: of galaxies, in its middle.
        noiseless: keep the truth as well.
    """

    name: str
    pixels: int
    seed: int
    star_density: float = 18.0
    density: float = 800.0
    cluster: bool = True
    noiseless: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, by which it could be registered."""
        return not (self.density or self.star_density or self.cluster)

    def simulate(self, out: Path, seed: int) -> SimulatedPair:
        """Its two cameras' files, in a folder of ``out``."""
        from data_prep.simulate import simulate

        asked = {k: v for k, v in asdict(self).items() if k not in ("name", "seed")}
        return simulate(out / self.name, seed=seed + self.seed, **asked)


def field_of(name: str, pair: SimulatedPair) -> FieldConfig:
    """A field of a config, of both cameras' files."""
    return FieldConfig(name=name, source=list(pair.source), target=list(pair.target))


def align(
    config: PrepareConfig, pairs: Mapping[str, SimulatedPair], skies: Sequence[Sky], work: Path
) -> dict[str, dict[str, Path]]:
    """Skies as they are prepared for a translation, on one grid.

    Args:
        config: how tiles of such skies are prepared.
        pairs: what was simulated, by the skies' names.
        skies: those that are wanted.
        work: the folder in which the files are put, under ``aligned``.

    Returns:
        Name of the sky → side → file.
    """
    from data_prep.prepare import prepare

    folder = work / "aligned"
    files = {
        sky.name: {side: folder / f"{sky.name}_{side}.fits" for side in ("source", "target")}
        for sky in skies
    }
    fields = [field_of(sky.name, pairs[sky.name]) for sky in skies]
    for field, sky in zip(fields, skies, strict=True):
        if sky.empty:
            field.register_ = config.register_.model_copy(update={"method": "none"})
    store = work / "held-out.zarr"
    alone = config.model_copy(update={"fields": fields, "out": store})
    with task("aligning the held-out skies") as progress:
        prepare(alone, keep_aligned=folder, progress=progress)
    shutil.rmtree(store, ignore_errors=True)
    return files
