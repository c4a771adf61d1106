"""The demo of colours: eight pictures teach a small flow, which then colours what it has not seen.

    prepare → train → colour → likelihood and variety → sheet

The pictures are those that the scikit-image wheel carries. Held out is the right-hand third of
each; a photograph that has no colours, and of which nothing is seen in training, is coloured too.
On the held-out tiles the flow's negative log-likelihood is set beside that of the same network
untrained, and of a normal distribution of (a, b) fitted to the training pixels, which knows nothing
of L.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.bundle import Bundle, load_bundle
from imgturbo.color.colorize import (
    colorize,
    colour_decoder,
    draw_colours,
    working_lightness,
)
from imgturbo.color.grey import read_grey
from imgturbo.config import Config, load_config
from imgturbo.config.shipped import config_path
from imgturbo.data.loader import validation_batches
from imgturbo.data.store import TileStore
from imgturbo.demos.job import free_outputs, trained
from imgturbo.engines import build_network
from imgturbo.files import write_json
from imgturbo.metrics.likelihood import ChannelGaussian, PixelMoments, bits_per_dimension
from imgturbo.nets import Generator
from imgturbo.report.progress import task
from imgturbo.report.sheet import SHEET, contact_sheet
from imgturbo.report.tables import prepare_table, wide_console
from imgturbo.sky import SkyImage, read_sky, write_sky
from imgturbo.sky.lab import lab_to_rgb, rgb_to_lab
from imgturbo.sky.picture import working_shape
from imgturbo.sky.units import DISPLAY

__all__ = ["likelihoods", "run_demo", "variety"]

_SHOWN = ("hubble_deep_field", "coffee", "retina", "chelsea")
_GREY = "camera.png"  # a grey photograph: there is no truth, and nothing of it in the training
_DRAWS, _DRAWS_SHOWN = 8, 4
SCORES = (b'"nats_per_dimension"',)
_TEMPERATURES = (1.0, 0.5, 0.0)
_TILES = 256  # validation tiles scored, at most

Planes = NDArray[np.float32]


def run_demo(out: Path, *, quick: bool = False) -> dict[str, Any]:
    """Run the demo into ``out``; leaves sheet.png, scores.json and the coloured pictures there.

    ``quick`` is a smoke test: few steps, small pictures, no good colours; in ``out/quick``.

    Raises:
        ImgturboError: ``out`` cannot be written, or a signal stopped the training.
    """
    # Only the command line and the demos may know data_prep; see docs/architecture.md.
    from data_prep.prepare import prepare

    console = wide_console()
    started = time.monotonic()
    work = out / "quick" if quick else out
    config = _settings(work, quick)
    free_outputs({out / "scores.json": SCORES, out / "sheet.png": SHEET})
    with task("preparing pictures") as progress:
        prepare_table(prepare(config.prepare, progress=progress))
    saved = trained(config, console)
    bundle = load_bundle(saved)

    # The quick form shows that all works, on the first two pictures alone.
    shown = _SHOWN[:2] if quick else _SHOWN
    truths, greys = _hold_out(config, work / "held-out", shown)
    coloured = work / "coloured"
    with task("colouring") as progress:
        for path, size in greys.items():
            colorize(
                bundle,
                [path],
                coloured,
                samples=_DRAWS_SHOWN if quick else _DRAWS,
                size=size,
                overwrite=True,
                progress=progress,
            )
    with task("scoring") as progress:
        store = TileStore.open(config.tiles)
        scores: dict[str, Any] = {
            "nats_per_dimension": likelihoods(bundle, store, config, 8 if quick else _TILES),
            "rms_ab_between_samples": variety(bundle, greys, progress),
        }
    nats = scores["nats_per_dimension"]["all"]
    scores["bits_per_dimension"] = {
        name: float(bits_per_dimension(torch.tensor(-value, dtype=torch.float64), 1))
        for name, value in nats.items()
    }
    scores |= {
        "steps": bundle.record["step"],
        "seed": config.seed,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(out / "scores.json", scores)
    _sheet(out / "sheet.png", coloured, truths, list(greys))
    for name, value in nats.items():
        console.print(f"{name + ':':<28}{value:7.3f} nats a dimension on held-out tiles")
    for temperature, distance in scores["rms_ab_between_samples"].items():
        console.print(f"samples at T = {temperature}: {distance:6.2f} apart (rms of a, b)")
    for what, path in {
        "sheet": out / "sheet.png",
        "scores": out / "scores.json",
        "bundle": saved,
    }.items():
        console.print(f"{what + ':':<12}{path}", markup=False)
    console.print(f"{scores['seconds']:.0f} s in all")
    return scores


def _settings(work: Path, quick: bool) -> Config:
    short = [
        "train.steps=6",
        "train.validate_every=3",
        "train.validate_tiles=4",
        "data.batch_size=2",
        "prepare.pictures.size=140",
        "prepare.pictures.zooms=[1.0]",
        "prepare.tile.stride=null",
    ]
    config = load_config(config_path("cinn_colorize_demo.yaml"), short if quick else [])
    config.prepare.out = work / "tiles.zarr"
    config.train.out = work / "run"
    folder = _picture_folder()
    pictures = config.prepare.pictures
    assert pictures is not None
    pictures.files = [folder / path for path in pictures.files]
    return config


def _picture_folder() -> Path:
    """Where scikit-image keeps the pictures of its wheel."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def _hold_out(
    config: Config, folder: Path, shown: Sequence[str]
) -> tuple[dict[str, Planes], dict[Path, int]]:
    """Write held-out parts as grey pictures, in the full resolution of the files.

    Returns:
        Truths, RGB by name; and by grey file the shorter side that the network shall see, so that
        a strip is seen as large as in its whole picture.
    """
    from data_prep.photographs import strip_edge

    pictures = config.prepare.pictures
    assert pictures is not None
    assert pictures.size is not None
    folder.mkdir(parents=True, exist_ok=True)
    truths, sizes = {}, {}
    by_name = {path.stem: path for path in pictures.files}
    for name in shown:
        rgb = read_sky(by_name[name]).data
        height, width = rgb.shape[1:]
        across = working_shape(height, width, pictures.size)[1]
        edge = strip_edge(across, config.prepare.tile.size, pictures.fraction)
        rgb = rgb[..., round(edge * width) :]
        truths[name] = rgb
        lab = rgb_to_lab(rgb)
        lab[1:] = 0
        grey = SkyImage.from_array(lab_to_rgb(lab).mean(0), unit=DISPLAY, bands=["L"])
        file = write_sky(folder / f"{name}.png", grey, overwrite=True)
        sizes[file] = round(min(rgb.shape[1:]) * pictures.size / min(height, width))
    sizes[_picture_folder() / _GREY] = pictures.size
    return truths, sizes


# ------------------------------------------------------------------------------------- scoring


def likelihoods(
    bundle: Bundle, store: TileStore, config: Config, limit: int
) -> dict[str, dict[str, float]]:
    """Negative log-likelihoods on held-out tiles, in nats a dimension, by picture and in all.

    Of the bundle's flow, of the same network untrained, and of one normal distribution over (a, b)
    fitted to the training tiles; all with the training's noise added, the same for the three,
    and on no more than ``limit`` tiles.
    """
    trained = colour_decoder(bundle)
    torch.manual_seed(config.seed)
    untrained = build_network(
        config.model.decoder, trained.in_channels, trained.out_channels
    ).eval()
    noise = config.objective.noise
    normal = _fit_normal(trained, store, noise)
    generator = torch.Generator().manual_seed(config.seed)
    sums: dict[str, dict[str, float]] = {}
    counts: dict[str, int] = {}
    fields = store.split("validation").field
    with torch.inference_mode():
        for batch in validation_batches(store, 8, limit):
            x = trained.reduce(batch.x)
            x = x + noise * torch.randn(x.shape, generator=generator)
            found = {
                "trained": -trained.log_density(x, batch.z),
                "untrained": -untrained.log_density(x, batch.z),
                "normal distribution": -normal.log_prob(x),
            }
            for row, index in enumerate(batch.x_index.tolist()):
                for name in ("all", store.fields[fields[index]]):
                    counts[name] = counts.get(name, 0) + x[0].numel()
                    here = sums.setdefault(name, dict.fromkeys(found, 0.0))
                    for model, values in found.items():
                        here[model] += float(values[row])
    return {
        name: {model: total / counts[name] for model, total in here.items()}
        for name, here in sums.items()
    }


def _fit_normal(decoder: Generator, store: TileStore, noise: float) -> ChannelGaussian:
    moments = PixelMoments()
    tiles = store.split("train").target
    generator = torch.Generator().manual_seed(0)
    for first in range(0, len(tiles), 64):
        x = decoder.reduce(torch.from_numpy(np.array(tiles[first : first + 64])))
        moments.update(x + noise * torch.randn(x.shape, generator=generator))
    return moments.gaussian()


def variety(bundle: Bundle, greys: Mapping[Path, int], progress: Any) -> dict[str, float]:
    """Root mean square distance in (a, b) between two samples of a picture, by temperature.

    ``greys`` has the size that the network sees by file.
    """
    found: dict[str, float] = {}
    for number, temperature in enumerate(_TEMPERATURES):
        squares = []
        for path, size in greys.items():
            progress(f"{path.stem} at T = {temperature}", number / len(_TEMPERATURES))
            lightness = working_lightness(bundle, read_grey(path), size)
            draws = list(
                draw_colours(bundle, lightness, 3, temperature=temperature, mean=False).values()
            )
            squares += [float(((a - b) ** 2).sum(0).mean()) for a, b in combinations(draws, 2)]
        found[f"{temperature:g}"] = float(np.sqrt(np.mean(squares)))
    return found


def _sheet(path: Path, coloured: Path, truths: Mapping[str, Planes], greys: Sequence[Path]) -> None:
    """A row a picture: grey, the mean's image, some draws, the truth if there is one."""
    words = ["grey", "T = 0", *(f"draw {i + 1}" for i in range(_DRAWS_SHOWN)), "truth"]
    rows = []
    for grey in greys:
        made = [coloured / f"{grey.stem}_mean.png"]
        made += [coloured / f"{grey.stem}_s{i + 1:03}.png" for i in range(_DRAWS_SHOWN)]
        pictures = [read_sky(file).data for file in (grey, *made)]
        if grey.stem in truths:
            pictures.append(truths[grey.stem])
        rows.append([_middle(picture) for picture in pictures])
    contact_sheet(path, rows, captions=[words], cell=200)


def _middle(rgb: Planes) -> Planes:
    """The middle of a strip, no more than a third taller than wide: a strip is a poor picture."""
    height, width = rgb.shape[1:]
    kept = min(height, round(1.3 * width))
    top = (height - kept) // 2
    return rgb[:, top : top + kept]
