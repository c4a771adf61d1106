"""Inverse problems z = A x + ε: every config of configs/inverse, trained and held to its data.

    python benchmarks/inverse.py --out runs/inverse [--only denoise,…] [--figure docs/inverse.png]

The sky is simulated as Webb sees it in F150W, without noise and without stars, and cut into tiles
of 32 pixels, stretched; one patch to train on, one held out. Of each problem are printed, on
the held-out tiles,

    input         PSNR of z = A⁺(A x + ε), what there is before anything is learnt
    plain         of what else needs no learning: Wiener's filter, the nearest pixel, damped least
                  squares (deblur), bicubic (superres)
    restored      of x̃, from the bundle, in the same noise
    consistency   ‖A x̃ − y‖² over σ² and the measurements: 1 where x̃ explains the data to within ε

and of fourier three ways to spend one budget of coefficients: drawn alike, drawn more densely at
low frequencies, and learnt. OUT/inverse.json keeps what has been done; run again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from data_prep.prepare import prepare
from data_prep.simulate import simulate
from data_prep.simulate.camera import hubble, webb
from imgturbo.bundle import load_bundle
from imgturbo.config import Config, load_config
from imgturbo.data import open_source
from imgturbo.engines import settle
from imgturbo.files import whole, write_json
from imgturbo.nets.operators import PhysicalEncoder, observer
from imgturbo.report.preview import save_figure
from imgturbo.training import train

CONFIGS = Path(__file__).parents[1] / "configs" / "inverse"
LEARNT = "model.encoder.operator.learnable=false"
RUNS: dict[str, tuple[str, list[str]]] = {
    "denoise": ("denoise", []),
    "inpaint": ("inpaint", []),
    "deblur": ("deblur", []),
    "superres": ("superres", []),
    "compressive": ("compressive", []),
    "fourier": ("fourier", []),
    "fourier-uniform": ("fourier", [LEARNT]),
    "fourier-dense": ("fourier", [LEARNT, "model.encoder.operator.concentration=3"]),
}
SKIES = {"training": (0, 1024), "held-out": (2, 512)}
SIDE = 21  # of the kernel in deblur.yaml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/inverse"))
    parser.add_argument("--only", default=",".join(RUNS), help=", ".join(RUNS))
    parser.add_argument("--steps", type=int, help="of each training; the config's")
    parser.add_argument("--figure", type=Path, help="where the figure goes; OUT/inverse.png")
    arguments = parser.parse_args()
    out: Path = arguments.out
    _prepare(out)
    record = out / "inverse.json"
    results: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    for name in arguments.only.split(","):
        if name in results:
            continue
        config = _config(name, out)
        if arguments.steps is not None:
            config.train.steps = config.train.validate_every = arguments.steps
        started = time.monotonic()
        if not (result := train(config)).finished:
            raise SystemExit(result.message)
        seconds = round(time.monotonic() - started, 1)
        results[name] = {"steps": config.train.steps, "seconds": seconds, **_score(config)}
        write_json(record, results)
        print(name, results[name], flush=True)
    print(table(results))
    draw(arguments.figure or out / "inverse.png", results, out)


def _config(name: str, out: Path) -> Config:
    file, overrides = RUNS[name]
    paths = [f"data.tiles={out / 'tiles.zarr'}", f"train.out={out / name}"]
    if name == "deblur":
        paths.append(f"model.encoder.operator.psf={out / 'psf.fits'}")
    return settle(load_config(CONFIGS / f"{file}.yaml", [*overrides, *paths]))


def _prepare(out: Path) -> None:
    """Tiles of the sky, and the point spread function of a smaller telescope."""
    tiles = out / "tiles.zarr"
    if tiles.exists():
        return
    fields = []
    for name, (seed, pixels) in SKIES.items():
        pair = simulate(
            out / "sky" / name, pixels=pixels, seed=seed, source_bands=("F814W",),
            target_bands=("F150W",), star_density=0, noiseless=True, overwrite=True,
        )  # fmt: skip
        split = "validation" if name == "held-out" else "train"
        fields.append({"name": name, "target": list(map(str, pair.noiseless)), "split": split})
    config = Config.model_validate(
        {
            "prepare": {
                "fields": fields, "out": str(tiles), "tile": {"size": 32}, "workers": 1,
                "stretch": {"softening": 3.0, "percentile": 99.9},
            }
        }
    )  # fmt: skip
    _write_psf(out / "psf.fits")
    prepare(config.prepare)


def _write_psf(path: Path) -> None:
    """Hubble's in F814W, on the pixels of the tiles."""
    camera = replace(hubble(("F814W",), 2.0), pixel_scale=webb(("F150W",), 64).pixel_scale)
    sampled, factor = camera.psf(camera.channels[0]), camera.oversample
    assert factor % 2  # so that a pixel has a sample in its middle
    first = sampled.shape[0] // 2 - SIDE * factor // 2
    middle = slice(first, first + SIDE * factor)
    binned = sampled[middle, middle].reshape(SIDE, factor, SIDE, factor).sum((1, 3))
    with whole(path) as aside:
        fits.PrimaryHDU(binned.astype(np.float32)).writeto(aside, overwrite=True)


# --------------------------------------------------------------------------------------- scores


@torch.inference_mode()
def _score(config: Config) -> dict[str, float]:
    """Of the bundle, on all held-out tiles: PSNR in dB, and the consistency."""
    bundle = load_bundle(config.train.out / "bundle")
    instrument, decoder = observer(bundle.encoder), bundle.decoder
    assert instrument is not None
    assert decoder is not None
    errors: dict[str, list[Tensor]] = {"input": [], "plain": [], "restored": []}
    squares, entries = 0.0, 0
    for batch in open_source(config).validation(32):
        assert batch.noise is not None
        z = instrument.observe(batch.z, batch.noise)
        answers = {"input": z, "plain": _plain(instrument, z), "restored": decoder(z)}
        for name, answer in answers.items():
            errors[name].append((answer - batch.x)[batch.x_valid.expand_as(batch.x)])
        seen = batch.z_valid.flatten(1).all(1)
        found, count = instrument.residual(answers["restored"], z)
        squares, entries = squares + float(found[seen].sum()), entries + count * int(seen.sum())
    scores = {
        name: round(-10 * float(torch.cat(error).double().square().mean().log10()), 2)
        for name, error in errors.items()
    }
    return {**scores, "consistency": round(squares / float(instrument.sigma) ** 2 / entries, 3)}


def _plain(instrument: PhysicalEncoder, z: Tensor) -> Tensor:
    """What else needs no learning; z itself where there is nothing better known."""
    operator, sigma = instrument.operator, float(instrument.sigma)
    match getattr(operator, "name", type(operator).__name__):
        case "Downsample":
            y, side = operator.measure(z), z.shape[-1]
            return F.interpolate(y, (side, side), mode="bicubic", align_corners=False)
        case "Mask":
            seen = operator.mask().bool().numpy()
            _, (rows, cols) = distance_transform_edt(~seen, return_indices=True)
            return z[..., rows, cols]
        case "Identity":
            return _wiener(z, sigma)
        case "Blur":
            return _least_squares(operator, z, sigma)
    return z


def _wiener(z: Tensor, sigma: float) -> Tensor:
    """S/(S + σ²) of each frequency, S the mean power of the tiles beyond the noise's."""
    found = torch.fft.fft2(z, norm="ortho")
    power = (found.abs().square().mean(0, keepdim=True) - sigma**2).clamp_min(0)
    return torch.fft.ifft2(power / (power + sigma**2) * found, norm="ortho").real


def _least_squares(operator: Any, y: Tensor, sigma: float, rounds: int = 50) -> Tensor:
    """argmin ‖A x − y‖² + λ‖x‖² by conjugate gradients, λ = σ² over the mean square of y."""
    weight = sigma**2 / float(y.square().mean())

    def normal(x: Tensor) -> Tensor:
        out: Tensor = operator.adjoint(operator.measure(x)) + weight * x
        return out

    x = torch.zeros_like(y)
    residual = operator.adjoint(y)
    direction, square = residual, residual.square().sum((1, 2, 3), keepdim=True)
    for _ in range(rounds):
        moved = normal(direction)
        step = square / (direction * moved).sum((1, 2, 3), keepdim=True)
        x, residual = x + step * direction, residual - step * moved
        fresh = residual.square().sum((1, 2, 3), keepdim=True)
        direction, square = residual + fresh / square * direction, fresh
    return x


def table(results: dict[str, Any]) -> str:
    """Markdown."""
    keys = ("input", "plain", "restored", "consistency", "steps", "seconds")
    lines = [f"| problem | {' | '.join(keys)} |", "|---" * (len(keys) + 1) + "|"]
    lines += [f"| {n} | {' | '.join(f'{row[k]:g}' for k in keys)} |" for n, row in results.items()]
    return "\n".join(lines)


# --------------------------------------------------------------------------------------- figure


@torch.inference_mode()
def draw(path: Path, results: dict[str, Any], out: Path) -> None:
    """A column a problem: truth, z and x̃ of one held-out tile; of fourier the mask besides."""
    from matplotlib.figure import Figure

    names = [name for name in RUNS if name in results]
    figure = Figure(figsize=(1.7 * len(names), 7.2), layout="constrained")
    axes = figure.subplots(4, len(names), squeeze=False)
    for column, name in zip(axes.T, names, strict=True):
        config = _config(name, out)
        bundle = load_bundle(config.train.out / "bundle")
        instrument, decoder = observer(bundle.encoder), bundle.decoder
        assert instrument is not None
        assert decoder is not None
        batch = max(open_source(config).validation(1), key=lambda one: _shown(one.x))
        assert batch.noise is not None
        z = instrument.observe(batch.z, batch.noise)
        for place, image in zip(column, (batch.x, z, decoder(z)), strict=False):
            place.imshow(image[0, 0].numpy(), vmin=-0.05, vmax=1.0, cmap="magma", origin="lower")
        mask = getattr(instrument.operator, "mask", None)
        if mask is not None and name.startswith("fourier"):
            column[3].imshow(np.fft.fftshift(mask().numpy()), cmap="Greys_r", origin="lower")
        for place in column:
            place.set(xticks=[], yticks=[])
        if mask is None or not name.startswith("fourier"):
            column[3].axis("off")
        column[0].set_title(name, fontsize=9)
    for place, label in zip(axes[:, 0], ("x", "z = A⁺(Ax + ε)", "restored", ""), strict=True):
        place.set_ylabel(label)
    axes[3, -1].set_xlabel("k sampled", fontsize=8)
    save_figure(figure, path)


def _shown(image: Tensor) -> float:
    """Of a tile that has much to be seen, but no core that outshines all of it."""
    return float(image.clamp(0, 1).std())


if __name__ == "__main__":
    main()
