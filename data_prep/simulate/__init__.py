"""One sky, two telescopes: the embedded default data, and a sky whose truth is known.

A scene (``scene`` draws ``sources`` with ``spectra``) is painted (``render``) through
two cameras (``camera``, each with a PSF computed from its pupil, ``psf``), and written as the
archives write it (``observe``). All of it is drawn from two seeds: the sky's and the noise's.

    pair = simulate(Path("runs/sky"))
    pair.source  # (runs/sky/hst_f606w.fits, runs/sky/hst_f814w.fits)
    pair.target  # (runs/sky/jwst_f150w.fits, …)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.simulate.camera import Camera, Channel, hubble, webb
from data_prep.simulate.observe import (
    SIMULATED,
    TRUTH,
    Exposure,
    expose,
    exposures,
    write_exposure,
    write_truth,
)
from data_prep.simulate.scene import draw_scene
from data_prep.simulate.sources import Scene
from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.places import free_place

__all__ = [
    "Camera",
    "Channel",
    "Exposure",
    "Scene",
    "SimulatedPair",
    "draw_scene",
    "expose",
    "hubble",
    "simulate",
    "webb",
    "write_exposure",
    "write_truth",
]

SMALLEST = 64


@dataclass(frozen=True)
class SimulatedPair:
    """Where the files are. ``pointing_error`` is how far the source's WCS lies from the target's,

    (east, north) in arcsec: what registration should find. ``noiseless`` is the target without
    noise, where it was asked for.
    """

    source: tuple[Path, ...]
    target: tuple[Path, ...]
    truth: Path
    pointing_error: tuple[float, float]
    noiseless: tuple[Path, ...] = ()


def simulate(
    out: Path | str,
    *,
    pixels: int = 1024,
    seed: int = 0,
    noise_seed: int | None = None,
    source_bands: Sequence[str] = ("F606W", "F814W"),
    target_bands: Sequence[str] = ("F150W", "F277W", "F444W"),
    density: float = 800.0,
    star_density: float = 18.0,
    cluster: bool = True,
    pointing_error: float = 0.02,
    noiseless: bool = False,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> SimulatedPair:
    """Simulate one field as Hubble and Webb would see it, and write the files.

    Args:
        out: folder, made if absent; an earlier simulation's files in it are replaced.
        pixels: side of the Webb mosaic (0.04″ pixels); Hubble's (0.05″) covers it.
        seed: of the sky, of where it lies, and of the direction of the pointing error.
        noise_seed: of the noise; None takes ``seed``.
        source_bands: of ACS: F435W, F606W, F814W.
        target_bands: of NIRCam: F090W, F115W, F150W, F200W, F277W, F356W, F444W.
        density: field galaxies per square arcmin down to AB 30 in F150W.
        star_density: stars per square arcmin, AB 17 to 26; never fewer than two stars, unless it
            is 0. With no galaxy, star or cluster the sky is empty: for null tests.
        cluster: whether a cluster of galaxies stands in the field.
        pointing_error: arcsec by which Hubble's WCS is wrong (0.02 is half a Webb pixel).
        noiseless: write Webb's images without noise too, ``jwst_f150w_noiseless.fits``, ….
        overwrite: replace files of these names that no simulation made.
        progress: called as ``progress(stage, fraction)`` with the name of the stage and the part of
            the whole job that is done, from 0 to 1.

    Returns:
        The paths of the files and the truth catalogue ``truth.ecsv``.

    Raises:
        ImgturboError: an unknown band, too small a field, a folder that cannot be written.
    """
    if pixels < SMALLEST:
        raise ImgturboError(f"a simulated field needs at least {SMALLEST} pixels a side: {pixels}")
    if min(density, star_density, pointing_error) < 0:
        raise ImgturboError("densities and pointing_error of a simulated field cannot be negative")
    both = set(source_bands) & set(target_bands)
    if both:
        raise ImgturboError(f"band {min(both)!r} of a simulated field is asked for on both sides")
    noise_seed = seed if noise_seed is None else noise_seed
    for name, value in (("seed", seed), ("noise_seed", noise_seed)):
        if value < 0:
            raise ImgturboError(f"{name} of a simulated field cannot be negative: {value}")

    target = webb(target_bands, pixels)
    field = pixels * target.pixel_scale
    angle = np.random.default_rng([seed, 3]).uniform(0, 2 * np.pi)
    error = (float(pointing_error * np.sin(angle)), float(pointing_error * np.cos(angle)))
    source = hubble(source_bands, field).moved(error)
    out = Path(out)
    with naming(out, "choose another", "cannot be made a folder"):
        out.mkdir(parents=True, exist_ok=True)
    cameras = [(source, ""), (target, ""), *([(target, "_noiseless")] if noiseless else [])]
    for path in (path for camera, suffix in cameras for path in exposures(camera, out, suffix)):
        free_place(path, mark=SIMULATED, overwrite=overwrite)
    free_place(out / "truth.ecsv", mark=TRUTH, overwrite=overwrite)

    def report(stage: str, first: float, last: float) -> Callable[[float], None] | None:
        if progress is None:
            return None
        call = progress
        return lambda fraction: call(stage, first + (last - first) * fraction)

    # The scene reaches 3″ beyond the larger camera: light from outside falls in, as it does.
    side = source.shape[0] * source.pixel_scale + 6.0
    scene = draw_scene(
        source.bands + target.bands,
        side,
        seed,
        sky=_centre(seed),
        density=density,
        star_density=star_density,
        cluster=cluster,
    )
    source_paths = write_exposure(
        expose(scene, source, noise_seed, report("Hubble", 0.0, 0.4)), out
    )
    seen = expose(scene, target, noise_seed, report("Webb", 0.4, 1.0))
    target_paths = write_exposure(seen, out)
    clean_paths = write_exposure(seen.without_noise(), out, "_noiseless") if noiseless else ()
    meta = {
        "seed": seed,
        "noise_seed": noise_seed,
        "centre": list(scene.sky),
        "cluster_redshift": scene.cluster_redshift,
        "source_pointing_error": list(error),
        "pointing_error_unit": "arcsec, (east, north), header minus truth",
    }
    truth = write_truth(scene, (source, target), out / "truth.ecsv", meta)
    if progress is not None:
        progress("done", 1.0)
    return SimulatedPair(source_paths, target_paths, truth, error, clean_paths)


def _centre(seed: int) -> tuple[float, float]:
    """Ra and dec in degrees: two skies at one place would be one sky to the train/validation split.

    Steps of the golden angle never come close to an earlier one; seed 0 lies at SMACS 0723.
    """
    return ((110.83 + 137.50776405 * seed) % 360, -73.45)
