"""Is registration to be believed? Unrelated skies accepted, and the residual against the truth.

    python -m benchmarks.registration [--pairs 100] [--sizes 256 512 1024] [--seed 0]

*Chance.* Pairs of skies that have nothing in common, with equal WCS and without any: how many are
accepted (none may be), and by what they are refused. *Calibration.* Pairs of one sky under a known
map with and without distortion: rms distance of the fitted map from the true one over the common
frame, beside the residual that the registration reports for itself.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from data_prep.register import Registration, register
from data_prep.register.coordinates import pixels_to_pixels
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage

Floats = NDArray[np.float64]
Map = Callable[[Floats], Floats]

SCALE = 0.05  # arcsec a pixel
DENSITY = 1 / 1500  # sources a square pixel, most of them near the noise


def catalogue(rng: np.random.Generator, size: int, density: float = DENSITY) -> tuple[Floats, ...]:
    """Positions (N, 2), fluxes of a power law, and sizes in pixels; some sources in clumps."""
    side = 1.4 * size
    count = rng.poisson(density * side**2)
    points = rng.uniform(-0.2 * size, 1.2 * size, (count, 2))
    clumped = rng.random(count) < 0.2
    centres = rng.uniform(0, size, (3, 2))
    points[clumped] = centres[rng.integers(3, size=clumped.sum())] + rng.normal(
        0, size / 15, (clumped.sum(), 2)
    )
    return points, 15 * rng.pareto(1.3, count) + 15, rng.choice([1.2, 1.6, 2.5], count)


def picture(
    points: Floats, fluxes: Floats, widths: Floats, size: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Round sources (flux in units of the noise of a pixel) on white noise, (size, size)."""
    image = rng.normal(0, 1, (size, size))
    for (x, y), flux, width in zip(points, np.minimum(fluxes, 3e4), widths, strict=True):
        reach = int(6 * width) + 2
        if not (-reach < x < size + reach and -reach < y < size + reach):
            continue
        rows = slice(max(int(y) - reach, 0), max(min(int(y) + reach, size), 0))
        columns = slice(max(int(x) - reach, 0), max(min(int(x) + reach, size), 0))
        dy, dx = (np.arange(s.start, s.stop) - c for s, c in ((rows, y), (columns, x)))
        profile = np.exp(-0.5 * (dy / width) ** 2)[:, None] * np.exp(-0.5 * (dx / width) ** 2)
        image[rows, columns] += flux / (2 * np.pi * width**2) * profile
    return image.astype(np.float32)


def tangent(size: int, angle: float = 0.0) -> WCS:
    """A tangent plane of ``SCALE`` arcsec, turned."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.1, 2.2], [(size + 1) / 2] * 2
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = SCALE / 3600 * np.array([[-c, s], [s, c]])
    wcs.array_shape = (size, size)
    wcs.wcs.set()
    return wcs


def unrelated(size: int, seed: int, coordinates: bool) -> tuple[SkyImage, SkyImage]:
    """Two skies with nothing in common, of equal coordinates or none."""
    wcs = tangent(size) if coordinates else None
    rng = np.random.default_rng([seed, size, coordinates])
    first, second = (picture(*catalogue(rng, size), size, rng) for _ in range(2))
    return SkyImage.from_array(first, wcs=wcs), SkyImage.from_array(second, wcs=wcs)


def distortion(kind: str, size: int, amplitude: float, rng: np.random.Generator) -> Map:
    """Source pixels → target pixels: a small affine map, and what no affine map follows."""
    matrix = np.eye(2) + rng.normal(0, 0.002, (2, 2))
    shift, phase = rng.uniform(-8, 8, 2), rng.uniform(0, 6, 4)

    def apply(points: Floats) -> Floats:
        unit = (points - size / 2) / (size / 2)
        u, v = unit.T
        if kind == "cubic":
            bend = np.stack([u**3 - u * v**2, v**3 + u**2 * v], axis=1)
        elif kind == "quadratic":
            bend = np.stack([u**2 - v * u, v**2 + u * v], axis=1)
        elif kind == "waves":
            bend = np.stack([np.sin(4 * u + phase[0]), np.sin(4 * v + phase[1])], axis=1)
        else:
            bend = np.zeros_like(unit)
        return (points - size / 2) @ matrix.T + size / 2 + shift + amplitude * bend

    return apply


def related(
    size: int, seed: int, coordinates: bool, kind: str, amplitude: float
) -> tuple[SkyImage, SkyImage, Map]:
    """One sky seen twice; a quarter of the sources are in one image only, colours differ."""
    rng = np.random.default_rng([seed, size, coordinates, 7])
    truth = distortion(kind, size, amplitude, rng)
    points, fluxes, widths = catalogue(rng, size)
    wcs = tangent(size) if coordinates else None
    images = []
    for positions in (points, truth(points)):
        seen = rng.random(len(points)) < 0.87
        colour = rng.lognormal(0, 0.4, len(points))
        image = picture(positions[seen], (fluxes * colour)[seen], widths[seen], size, rng)
        images.append(SkyImage.from_array(image, wcs=wcs))
    return images[0], images[1], truth


def true_error(found: Registration, truth: Map, size: int) -> float:
    """Rms distance from the truth over the common frame, target pixels."""
    y, x = np.mgrid[8 : size - 8 : 16, 8 : size - 8 : 16]
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    there = truth(points)
    points, there = (a[((there > 8) & (there < size - 8)).all(1)] for a in (points, there))
    mapped = pixels_to_pixels(found.source_wcs, found.target_wcs, points)
    return float(np.sqrt(np.mean(np.sum((mapped - there) ** 2, axis=1))))


def chance(sizes: list[int], pairs: int, seed: int) -> None:
    print(f"{'size':>5} {'WCS':>4} {'pairs':>6} {'accepted':>9}  refused by")
    for size in sizes:
        for coordinates in (True, False):
            reasons: Counter[str] = Counter()
            accepted, start = 0, time.process_time()
            for index in range(pairs):
                try:
                    register(*unrelated(size, seed + index, coordinates), RegisterConfig())
                    accepted += 1
                except ImgturboError as error:
                    text = str(error)
                    reasons["chance" if "chance" in text else "too few"] += 1
            seconds = time.process_time() - start
            print(
                f"{size:5} {'yes' if coordinates else 'no':>4} {pairs:6} {accepted:9}  "
                f"{dict(reasons)} ({seconds:.0f} s)",
                flush=True,
            )


def calibration(size: int, pairs: int, seed: int) -> None:
    print(
        f"{'distortion':>10} {'px':>4} {'model':>10} {'local':>5} {'true':>6} {'held out':>8} "
        f"{'ratio: median':>13} {'16-84 %':>11} {'rejected':>8} {'refused':>7}"
    )
    for kind, amplitude, model, local in (
        ("none", 0.0, "affine", False),
        ("quadratic", 1.0, "affine", False),
        ("cubic", 0.5, "affine", False),
        ("cubic", 2.0, "affine", False),
        ("cubic", 4.0, "affine", False),
        ("waves", 1.0, "affine", False),
        ("waves", 1.0, "shift", False),
        ("cubic", 2.0, "polynomial", False),
        ("waves", 1.0, "affine", True),
    ):
        rows, refused = [], 0
        for index in range(pairs):
            coordinates = bool(index % 2)
            source, target, truth = related(size, seed + index, coordinates, kind, amplitude)
            config = RegisterConfig(model=model, local=local, degree=3)
            try:
                found = register(source, target, config)
            except ImgturboError:
                refused += 1
                continue
            rejected = found.rejected / max(found.matched + found.rejected, 1)
            rows.append((true_error(found, truth, size), found.residual_held_out, rejected))
        if not rows:
            print(f"{kind:>10} {amplitude:4} {model:>10} {local!s:>5} all refused")
            continue
        true, held, rejected = np.array(rows).T
        low, middle, high = np.percentile(held / true, [16, 50, 84])
        print(
            f"{kind:>10} {amplitude:4} {model:>10} {local!s:>5} {np.median(true):6.3f} "
            f"{np.median(held):8.3f} {middle:13.2f} {low:5.2f}-{high:.2f} "
            f"{np.median(rejected):8.0%} {refused:7}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--calibration-pairs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.calibration_pairs:
        calibration(512, arguments.calibration_pairs, arguments.seed)
    if arguments.pairs:
        chance(arguments.sizes, arguments.pairs, arguments.seed)


if __name__ == "__main__":
    main()
