"""Every published model of the family, trained by its config and scored: one table.

    python -m benchmarks.family sky                    simulates the two fields of the tiles
    python -m benchmarks.family run [NAME …]           trains and scores, into runs/family
    python -m benchmarks.family table                  prints the table of what has been scored
    python -m benchmarks.family figures                draws what the bundles make: OUT/*.png

What is scored depends on what a model is for:

``x̃``       PSNR in dB of x̃ against the truth on held-out tiles, data range 1 on the stretched
            scale, of pairs. The null is the least-squares affine map of the colours.
``x̂``       PSNR of x̂ against x on held-out tiles or rows, data range 1. A row's columns have unit
            spread: a mean would have 0 dB, the simulator's noise is at 16.4 dB.
``samples``  10³ MMD² (unbiased, kernels of ``mmd``) between 2000 rows that are made of draws and
            2000 held-out ones. The null are draws of a normal distribution with the data's moments,
            the floor is other held-out rows.
``codes``    the same between codes z̃ of held-out rows and draws from the prior.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imgturbo.bundle import Bundle, load_bundle
from imgturbo.config import Config
from imgturbo.data import open_source
from imgturbo.data.batch import Batch
from imgturbo.engines import load_settled
from imgturbo.files import write_json
from imgturbo.nets import FreshNoise
from imgturbo.nets.lpips import require_backbone
from imgturbo.nets.weights import MissingWeights
from imgturbo.report.preview import colour, save_figure
from imgturbo.training import train
from imgturbo.turbo import distances
from imgturbo.turbo.mmd import kernel
from imgturbo.turbo.presets import PRESETS

CONFIGS = Path("configs/family")
OUT = Path("runs/family")
ROWS = 2000
LENGTHS = (0.05, 0.2, 0.9)

Scores = dict[str, float | str]


def simulate_sky() -> None:
    """The two fields that the configs of images name."""
    from data_prep.simulate import simulate

    for seed, name in enumerate(("first", "second")):
        simulate(
            OUT / "sky" / name,
            pixels=512,
            seed=seed,
            target_bands=("F150W", "F277W"),
            star_density=100.0,
        )


# ------------------------------------------------------------------------------------- scores


def mmd2(a: Tensor, b: Tensor) -> float:
    """Gretton et al. 2012, eq. 3, times 10³."""
    n, m = len(a), len(b)
    within = sum(
        (float(kernel(u, u, LENGTHS).sum()) - len(LENGTHS) * k) / (k * (k - 1))
        for u, k in ((a, n), (b, m))
    )
    return 1e3 * (within - 2 * float(kernel(a, b, LENGTHS).mean()))


def psnr(found: Tensor, truth: Tensor, valid: Tensor | None = None) -> float:
    """Of data range 1, in dB."""
    squares = (found - truth).square()
    mean = squares.mean() if valid is None else squares[valid.expand_as(squares)].mean()
    return -10 * math.log10(float(mean))


def validation(config: Config, count: int) -> list[Batch]:
    return list(open_source(config).validation(250, count))


@torch.inference_mode()
def score_rows(config: Config, bundle: Bundle) -> Scores:
    """Of codes and rows: what comes back, and how what is made of either is distributed."""
    wish = config.data.source
    assert wish is not None
    wide = config.model_copy(deep=True)
    wide.data.source = wish.model_copy(update={"validation": 2 * ROWS})
    batches = validation(wide, 2 * ROWS)
    z, x = (torch.cat([getattr(batch, side) for batch in batches]) for side in ("z", "x"))
    (z, _), (x, other) = z.split(ROWS), x.split(ROWS)
    torch.manual_seed(1)
    scores: Scores = {"samples_floor": mmd2(other, x)}
    root = torch.linalg.cholesky(torch.cov(other.T))
    scores["samples_null"] = mmd2(other.mean(0) + torch.randn_like(x) @ root.T, x)
    assert bundle.decoder is not None
    made = bundle.decoder(torch.randn_like(z), FreshNoise())
    scores["samples"] = mmd2(made, x)
    if bundle.encoder is not None:
        codes = bundle.encoder(x, FreshNoise())
        scores["codes"] = mmd2(codes, z)
        scores["x_hat"] = psnr(bundle.decoder(bundle.encoder(x)), x)
    return scores


@torch.inference_mode()
def score_tiles(config: Config, bundle: Bundle) -> Scores:
    """Of pairs of tiles, held out from training: x̃, x̂ and the null."""
    paired = config.model_copy(deep=True)
    paired.data.pairing = "auto"
    batches = validation(paired, 256)
    z, x = (torch.cat([getattr(b, side) for b in batches]) for side in ("z", "x"))
    z_valid, x_valid = (torch.cat([getattr(b, f"{s}_valid") for b in batches]) for s in ("z", "x"))
    both = z_valid & x_valid
    scores: Scores = {"tiles": len(z), "null": psnr(_affine(paired, z), x, both)}
    if bundle.decoder is not None:
        scores["x_tilde"] = psnr(bundle.decoder(z), x, both)
        if bundle.encoder is not None:
            scores["x_hat"] = psnr(bundle.decoder(bundle.encoder(x)), x, x_valid)
    if bundle.encoder is not None:
        scores["z_tilde"] = psnr(bundle.encoder(x), z, both)
    return scores


def _affine(config: Config, z: Tensor) -> Tensor:
    """The best affine map of colours, fitted to training tiles."""
    batches = [open_source(config).batch(step) for step in range(30)]
    known = torch.cat([(b.z_valid & b.x_valid & b.paired.view(-1, 1, 1, 1)) for b in batches])
    given, truth = (
        torch.cat([getattr(b, side) for b in batches]).movedim(1, -1)[known[:, 0]].double()
        for side in ("z", "x")
    )
    design = torch.cat([given, given.new_ones(len(given), 1)], 1)
    solution = torch.linalg.lstsq(design, truth).solution.float()
    return torch.einsum("bchw,cd->bdhw", z, solution[:-1]) + solution[-1].view(1, -1, 1, 1)


# --------------------------------------------------------------------------------------- runs


def run(name: str, overrides: list[str]) -> Scores:
    """Prepare what the config asks for, train it anew, and score its bundle."""
    config = load_settled(CONFIGS / f"{name}.yaml", overrides)
    if config.prepare.fields and not config.tiles.exists():
        from data_prep.prepare import prepare

        prepare(config.prepare)
    note = _stand_in_for_weights(config)
    started = time.monotonic()
    result = train(config, resume=False)
    seconds = time.monotonic() - started
    assert result.bundle is not None
    bundle = load_bundle(result.bundle)
    score = score_tiles if config.data.source is None else score_rows
    scores = score(config, bundle)
    facts: Scores = {
        "steps": config.train.steps,
        "seed": config.seed,
        "seconds": round(seconds),
        "note": note,
        "command": " ".join(["python -m benchmarks.family run", name, *overrides]),
    }
    return facts | scores


def _stand_in_for_weights(config: Config) -> str:
    """Let LPIPS judge by a random network where the weights of VGG cannot be had; says so."""
    if not any(
        "lpips" in mix for mix in PRESETS[config.objective.preset or ""].terms.distance.values()
    ):
        return ""
    try:
        require_backbone("vgg")
    except MissingWeights:
        distances.Lpips = partial(distances.Lpips, random_backbone=True)  # type: ignore[misc,assignment]
        return "LPIPS of a random VGG: its weights were not at hand"
    return ""


_COLUMNS = {
    "x_tilde": "x̃ dB", "null": "null dB", "z_tilde": "z̃ dB", "x_hat": "x̂ dB", "codes": "codes",
    "samples": "samples", "samples_null": "null", "samples_floor": "floor",
    "steps": "steps", "seconds": "s",
}  # fmt: skip


def table(scores: dict[str, Scores]) -> str:
    """Markdown."""
    lines = [["preset", *_COLUMNS.values()], ["---"] * (len(_COLUMNS) + 1)]
    for name in PRESETS:
        if name in scores:
            lines.append([name, *(_cell(scores[name].get(key)) for key in _COLUMNS)])
    notes = [f"{name}: {found['note']}" for name, found in scores.items() if found.get("note")]
    return "\n".join([f"| {' | '.join(line)} |" for line in lines] + notes)


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return "–" if value is None else str(value)


# ------------------------------------------------------------------------------------ figures


@torch.inference_mode()
def figures() -> None:
    """One tile by every model of pairs, and the rows that every model makes of draws."""
    pairs, rows = [], []
    for name in PRESETS:
        file = CONFIGS / f"{name}.yaml"
        if file.is_file():
            config = load_settled(file)
            if (config.train.out / "bundle").is_dir():
                one = (name, config, load_bundle(config.train.out / "bundle"))
                (pairs if config.data.source is None else rows).append(one)
    if pairs:
        _panels([*_tiles(pairs)], OUT / "pairs.png")
    if rows:
        _panels([*_rows(rows)], OUT / "rows.png")


Made = list[tuple[str, Config, Bundle]]
Panel = tuple[str, Callable[[Any], None]]


def _tiles(made: Made) -> Iterator[Panel]:
    """A held-out tile with more in it than three of four others: as given, as made, the truth.

    The one with most in it is a bright star from rim to rim.
    """
    config = made[0][1].model_copy(deep=True)
    config.data.pairing = "auto"
    batches = validation(config, 256)
    z, x = (torch.cat([getattr(b, side) for b in batches]) for side in ("z", "x"))
    spread = x.clamp(0, 1).flatten(1).std(1)
    best = int(spread.argsort()[3 * len(x) // 4])
    z, x = z[best : best + 1], x[best : best + 1]

    def picture(image: Tensor) -> Callable[[Any], None]:
        return lambda axes: axes.imshow(colour(image[0].numpy(), 0.8), origin="lower")

    yield "z, as given", picture(z)
    for name, _, bundle in made:
        if bundle.decoder is not None:
            found = bundle.decoder(z)
            yield f"{name}  {psnr(found, x):.1f} dB", picture(found)
    yield "x, the truth", picture(x)


def _rows(made: Made) -> Iterator[Panel]:
    """Two of the four columns, in which the sheet is an arc: held-out rows, and each model's."""
    config = made[0][1].model_copy(deep=True)
    assert config.data.source is not None
    config.data.source.validation = ROWS
    truth = torch.cat([batch.x for batch in validation(config, ROWS)])

    def scatter(found: Tensor) -> Callable[[Any], None]:
        def draw(axes: Any) -> None:
            axes.plot(*found[:, :2].T.numpy(), ".", ms=1.5, alpha=0.4, color="#1d3557")
            axes.set(xlim=(-2.5, 2.5), ylim=(-3, 2.5))

        return draw

    yield "held-out rows", scatter(truth)
    torch.manual_seed(1)
    root = torch.linalg.cholesky(torch.cov(truth.T))
    yield "null: a normal", scatter(truth.mean(0) + torch.randn_like(truth) @ root.T)
    for name, _, bundle in made:
        assert bundle.decoder is not None
        codes = torch.randn(ROWS, len(bundle.source))
        found = bundle.decoder(codes, FreshNoise())
        yield f"{name}  {mmd2(found, truth):.1f}", scatter(found)


def _panels(panels: list[Panel], out: Path, across: int = 6) -> None:
    import matplotlib.pyplot as plt

    down = math.ceil(len(panels) / across)
    figure, all_axes = plt.subplots(
        down, across, figsize=(1.7 * across, 1.9 * down), layout="constrained", squeeze=False
    )
    for axes in all_axes.flat:
        axes.set_axis_off()
    for axes, (title, draw) in zip(all_axes.flat, panels, strict=False):
        draw(axes)
        axes.set_title(title, fontsize=7)
    save_figure(figure, out)
    plt.close(figure)
    print(out)


def main() -> None:
    """Read the words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("sky", "run", "table", "figures"))
    parser.add_argument("names", nargs="*", help="presets, all by default; or overrides, key=value")
    words = parser.parse_args()
    if words.job == "sky":
        simulate_sky()
        return
    if words.job == "figures":
        figures()
        return
    path = OUT / "scores.json"
    scores: dict[str, Scores] = json.loads(path.read_text()) if path.exists() else {}
    if words.job == "run":
        overrides = [word for word in words.names if "=" in word]
        names = [word for word in words.names if "=" not in word]
        for name in names or sorted(file.stem for file in CONFIGS.glob("*.yaml")):
            scores[name] = run(name, overrides)
            write_json(path, scores)
            print(name, scores[name], flush=True)
    print(table(scores))


if __name__ == "__main__":
    main()
