"""What pairs are worth: quality against the share of pairs that are known.

    python benchmarks/pairs.py --out runs/pairs [--figure docs/pairs.png] [--seeds 3] [--steps 300]

Two patches of simulated sky become tiles of 32 pixels, each as Hubble and as Webb would see it; a
third, of other seeds, is never trained on. Of the training pairs 0, 1, 5, 25 or 100 % are known
(``data.hide_pairs``; which ones is the seed's choice), and the rest stays in the run as single
tiles. The same networks, critics, steps and learning rates are trained as

    turbo      by all tiles; half of each batch is pairs, however few there are to choose from
    pix2pix    by the known pairs alone
    cyclegan   by all tiles, never knowing a pair; so it is one row at every share

and scored at the last step (nothing is selected by a score) on 256 tiles of the third patch. For
comparison the null, which is the best affine colour map of those very tiles, and a ceiling, the
noiseless Webb image against the noisy one that everything is scored by. Two bands lead to two, so
that cyclegan has its identity terms, and every network starts near the identity.

Every run that has ended stands in OUT/pairs.json; the same command goes on with those that are
missing, and draws the figure anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.prepare import prepare
from data_prep.simulate import simulate
from imgturbo.config import Config
from imgturbo.data import TileStore
from imgturbo.files import write_json
from imgturbo.metrics.baselines import affine_colour
from imgturbo.report.preview import save_figure
from imgturbo.sky import read_sky
from imgturbo.training import train

SHARES = (0.0, 0.01, 0.05, 0.25, 1.0)
TILE = 32
MOST = 256  # held-out tiles that are scored, spread evenly
BANDS = {"source_bands": ("F606W", "F814W"), "target_bands": ("F150W", "F277W")}
SKIES = {"training-0": (0, 1024), "training-1": (1, 1024), "held-out": (2, 768)}
COLOURS = {"turbo": "#1d3557", "pix2pix": "#e76f51", "cyclegan": "#2a9d8f"}


class Run(NamedTuple):
    """One training: its preset, the share of pairs that it knows, and its seed."""

    preset: str
    share: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.preset}-{100 * self.share:g}-{self.seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path, help="where the figure goes; OUT/pairs.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    run(arguments.out, arguments.figure or arguments.out / "pairs.png", arguments.seeds,
        arguments.steps)  # fmt: skip


def run(out: Path, figure: Path, seeds: int, steps: int) -> None:
    """Make the tiles, train what has not been trained, and draw."""
    tiles, record = out / "tiles.zarr", out / "pairs.json"
    results: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    if not results:
        shutil.rmtree(tiles, ignore_errors=True)  # of a preparation that was not finished
        results = {"steps": steps, "tile": TILE, **_prepare(out, tiles), "runs": {}}
        write_json(record, results)
    if results["steps"] != steps:
        raise SystemExit(f"{record}: made with --steps {results['steps']}; choose another --out")
    for one in _runs(seeds):
        if one.name in results["runs"]:
            continue
        started = time.monotonic()
        scores = _train(one, tiles, out / "run", steps)
        seconds = round(time.monotonic() - started, 1)
        results["runs"][one.name] = {**one._asdict(), "seconds": seconds, **scores}
        write_json(record, results)
        print(f"{one.name:<20} {scores['forward/psnr']:.2f} dB, {seconds} s", flush=True)
    draw(figure, results)
    print(table(results))


def _runs(seeds: int) -> Iterator[Run]:
    """Seed by seed, so that an interrupted study has all shares."""
    for seed in range(seeds):
        yield Run("cyclegan", 0.0, seed)
        for share in SHARES:
            yield Run("turbo", share, seed)
            if share:
                yield Run("pix2pix", share, seed)


def _prepare(out: Path, tiles: Path) -> dict[str, Any]:
    """Simulate the skies and cut them into tiles; returns what is to be beaten."""
    pairs = {
        name: simulate(
            out / "sky" / name, pixels=pixels, seed=seed, star_density=200.0, pointing_error=0.0,
            noiseless=name == "held-out", overwrite=True, **BANDS,
        )
        for name, (seed, pixels) in SKIES.items()
    }  # fmt: skip
    fields = [
        {
            "name": name,
            "source": list(map(str, pair.source)),
            "target": list(map(str, pair.target)),
            "split": "validation" if name == "held-out" else "train",
        }
        for name, pair in pairs.items()
    ]
    config = Config.model_validate(
        {
            "prepare": {
                "fields": fields, "out": str(tiles), "register": {"method": "none"},
                "tile": {"size": TILE}, "workers": 1,
                "stretch": {"softening": 3.0, "percentile": 99.9},
            }
        }
    )  # fmt: skip
    prepare(config.prepare)
    store = TileStore.open(tiles)
    split = store.split("validation")
    z, x = (np.concatenate(list(part[:]), axis=-1) for part in (split.source, split.target))
    valid = np.concatenate(list(split.source_valid[:] & split.target_valid[:]), axis=-1)
    assert store.target is not None
    seen, truth = (
        store.target.stretch(read_sky(list(files)).data)
        for files in (pairs["held-out"].target, pairs["held-out"].noiseless)
    )
    return {
        "training_pairs": int(store.split("train").paired.sum()),
        "held_out_tiles": len(split),
        "null": _psnr(affine_colour(z, x, valid)[:, valid] - x[:, valid]),
        "ceiling": _psnr((truth - seen)[np.isfinite(truth - seen)]),
    }


def _psnr(error: NDArray[Any]) -> float:
    """In dB, of stretched values, whose range is 1."""
    return round(float(-10 * np.log10(np.square(error, dtype=np.float64).mean())), 3)


def _train(one: Run, tiles: Path, out: Path, steps: int) -> dict[str, float]:
    """The scores of a run on the held-out sky, at its last step."""
    data: dict[str, Any] = {"tiles": str(tiles), "batch_size": 8, "augment": "d4"}
    if one.preset == "cyclegan":
        data["pairing"] = "unpaired"
    else:
        data["hide_pairs"] = 1 - one.share
        if one.preset == "pix2pix":
            data["pairing"] = "paired"
        elif 0 < one.share < 1:
            data["paired_fraction"] = 0.5
    generator = {"kind": "unet", "width": 24, "depth": 1, "blocks": 1, "stem": 2}
    config = Config.model_validate(
        {
            "name": one.name,
            "seed": one.seed,
            "data": data,
            "model": {"decoder": generator, "critic": {"width": 16, "layers": 1}},
            "objective": {"preset": one.preset},
            "train": {
                "out": str(out), "steps": steps, "lr": 1e-3, "critic_lr": 4e-4, "warmup": 20,
                "ema": 0.99, "precision": "auto", "select": "last", "validate_every": steps,
                "validate_tiles": MOST, "checkpoint_every": steps, "log_every": steps,
                "trackers": ["jsonl"],
            },
        }
    )  # fmt: skip
    result = train(config, resume=False)
    if not result.finished:
        raise SystemExit(result.message)
    return {name: round(value, 4) for name, value in result.scores.items()}


# ------------------------------------------------------------------------------- what comes out


def _by_share(results: dict[str, Any], preset: str, score: str) -> dict[float, list[float]]:
    """Scores of all seeds, by the share of pairs."""
    found: dict[float, list[float]] = {}
    for row in results["runs"].values():
        if row["preset"] == preset:
            found.setdefault(row["share"], []).append(row[score])
    return found


def table(results: dict[str, Any], score: str = "forward/psnr") -> str:
    """Markdown: mean ± standard deviation over the seeds."""
    head = " | ".join(f"{100 * share:g} %" for share in SHARES)
    lines = [f"| {score} | {head} |", "|---" * (len(SHARES) + 1) + "|"]
    for preset in COLOURS:
        found = _by_share(results, preset, score)
        cells = [_cell(found[share]) if share in found else "–" for share in SHARES]
        lines.append(f"| {preset} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


def draw(path: Path, results: dict[str, Any]) -> None:
    """PSNR over the share of known pairs: means of the seeds, and from the worst to the best."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(SHARES))
    for preset, colour in COLOURS.items():
        found = _by_share(results, preset, "forward/psnr")
        if preset == "cyclegan":
            values = found.get(0.0, [np.nan])
            axes.axhspan(min(values), max(values), color=colour, alpha=0.2, linewidth=0)
            axes.axhline(float(np.mean(values)), color=colour, label="cyclegan, knows no pair")
            continue
        at = [place for place, share in zip(places, SHARES, strict=True) if share in found]
        columns = [found[SHARES[place]] for place in at]
        means = [float(np.mean(column)) for column in columns]
        axes.fill_between(at, [min(c) for c in columns], [max(c) for c in columns], color=colour,
                          alpha=0.2, linewidth=0)  # fmt: skip
        what = "all tiles" if preset == "turbo" else "the known pairs alone"
        axes.plot(at, means, "o-", color=colour, label=f"{preset}, {what}")
    for key, label in (("null", "affine map of the colours"), ("ceiling", "noiseless truth")):
        axes.axhline(results[key], color="0.5", linestyle="--", linewidth=1)
        axes.annotate(label, (0, results[key]), (3, 3), textcoords="offset points", color="0.4")
    known = results["training_pairs"]
    counts = [known - int((1 - share) * known + 0.5) for share in SHARES]
    axes.set_xticks(places, [f"{100 * s:g} %\n{n}" for s, n in zip(SHARES, counts, strict=True)])
    axes.set(xlabel="known pairs: share, number", ylabel="PSNR of a held-out sky, dB")
    axes.legend(frameon=False)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
