"""``imgturbo inspect``: what a thing is, and what would go wrong with it.

One dictionary a kind of thing — image, tile store, bundle, checkpoint or run — with the keys
``what`` and ``warnings`` always there; :mod:`imgturbo.report.tables` prints it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.remote import is_hub_address, is_remote, readable
from imgturbo.shipped import by_name

if TYPE_CHECKING:
    from imgturbo.side import Side
    from imgturbo.sky import SkyReader, Stretch

__all__ = ["describe"]

Facts = dict[str, Any]

_SAMPLE = 1 << 25  # values looked at; a larger mosaic is sampled
_STRIPS = 32
_FILL_SAMPLE = 1 << 20
_FILLED = 0.05  # share of one value that no measurement of floats has
_OUTSTANDING = 5  # times as frequent as the next
_MISSING_SPLIT = {
    "train": "there is nothing to train on; hold less out in prepare.split",
    "validation": "the best weights cannot be told from the last; raise prepare.split.fraction",
}


def describe(path: Path) -> Facts:
    """Facts about an image, a table, a tile store, a bundle, a checkpoint or a run's folder.

    Raises:
        ImgturboError: nothing is there, or it is none of these.
    """
    path = readable(path)
    if is_hub_address(path):
        from imgturbo.bundle.hub import pull

        path = pull(path)
    elif not is_remote(path):
        path = by_name(path)
    if not path.exists():
        raise ImgturboError(
            f"{path}: no such file or folder; name an image, a table, a tile store, a bundle or a "
            "run"
        )
    if path.is_file():
        from imgturbo.tables import is_table

        return _table(path) if is_table(path) else _image(path)
    if (path / "bundle.json").exists():
        return _bundle(path)
    if (path / "zarr.json").exists():
        return _tiles(path)
    if (path / "checkpoints").is_dir():
        return _run(path)
    if (path / "state.json").exists():
        return _checkpoint(path)
    raise ImgturboError(
        f"{path}: neither a bundle, a tile store, a checkpoint nor a run's folder; "
        "a single image is named by its file"
    )


def _image(path: Path) -> Facts:
    from imgturbo.sky import Stretch, open_sky
    from imgturbo.sky.frames import icrs
    from imgturbo.sky.provenance import predicted_by

    with open_sky(path) as image:
        _, height, width = image.shape
        data, whole = _sample(image)
    measured = np.isfinite(data)
    valid = float(measured.all(0).mean())
    masked_by, unused = image.masked_by, image.unused
    picture = image.unit == "display"
    facts: Facts = {
        "what": "picture" if picture else "sky image",
        "bands": ", ".join(image.bands),
        "size": f"{width} × {height} pixels",
        "unit": "display values, 0 to 1" if picture else image.unit or "not stated",
    }
    if predicted := predicted_by(image.header):
        facts["predicted"] = predicted
    warnings = list(image.notes)
    if not picture:
        zeros = ("unknown" if z is None else f"{z:.3f}" for z in image.zeropoints)
        facts["AB zero point"] = ", ".join(zeros)
    facts["valid"] = f"{valid:.1%} of {'the pixels' if whole else 'a sample of the rows'}"
    if masked_by:
        facts["masked by"] = ", ".join(masked_by)
    if unused:
        facts["not used"] = ", ".join(unused)
    if image.wcs is None:
        facts["WCS"] = "none"
        if not picture:
            warnings.append("no celestial WCS: it can be translated, but not reprojected or paired")
    else:
        facts["pixel scale"] = f"{image.pixel_scale:.4f} arcsec"
        x, y = [0, width - 1, width - 1, 0], [0, 0, height - 1, height - 1]
        corners = zip(*icrs(image.wcs, x, y), strict=True)
        facts["footprint"] = "  ".join(f"{ra:.5f} {dec:+.5f}" for ra, dec in corners)
    if not picture:
        facts["stretch (fitted here)"] = _stretch_line(Stretch.fit(data))
    for band, plane, here in zip(image.bands, data, measured, strict=True):
        if not here.any():  # somewhere there is a measured pixel, or it could not be opened
            warnings.append(f"band {band} has no measured pixel in the sampled rows")
            continue
        low, middle, high = np.percentile(plane[here], [0.1, 50, 99.9])
        facts[f"flux {band}"] = f"0.1 %: {low:.4g}  median: {middle:.4g}  99.9 %: {high:.4g}"
        if low == high:
            warnings.append(f"band {band} is constant: nothing can be learnt from it")
        elif not picture and (filled := _filled(plane[here])):
            value, share = filled
            warnings.append(
                f"{share:.0%} of band {band} is exactly {value:g} and counts as measured; if it is "
                "not, make it NaN, or put a weight map beside the file (NAME_wht.fits)"
            )
    if valid < 0.5:
        warnings.append("less than half of it is valid: few tiles will pass prepare.tile.min_valid")
    if not image.unit:
        warnings.append("BUNIT is missing: fluxes cannot be compared with another instrument's")
    elif not image.scales[0].unit.known:
        warnings.append(f"{image.unit!r} is no known unit: its pixels cannot be resampled")
    elif not picture and None in image.zeropoints:
        warnings.append("no AB zero point (PHOTFLAM and PHOTPLAM, PIXAR_SR, or ABZP are missing)")
    return facts | {"warnings": warnings}


def _table(path: Path) -> Facts:
    """Rows and columns of a table's file, from one pass over it."""
    from imgturbo.tables import open_table
    from imgturbo.tables.reader import numbers_in

    warnings = []
    with open_table(path) as table:
        names = numbers_in(table)
        others = [name for name in table.columns if name not in names]
        facts: Facts = {"what": f"table ({path.suffix.lower().lstrip('.')})", "rows": table.length}
        moments, known = _Moments(len(names)), np.zeros(len(names), int)
        for block in table.blocks(names):
            moments.see(block.numbers)
            known += np.isfinite(block.numbers).sum(axis=0)
        units = [table.columns[name].unit for name in names]
        if predicted := table.meta.get("MODEL"):
            facts["predicted"] = f"by a network (model {predicted}), not observed"
    facts["columns"] = f"{len(names)} of numbers, {len(others)} of other things"
    for place, name in enumerate(names):
        facts[name] = moments.line(place, units[place])
        lacking = facts["rows"] - int(known[place])
        if facts["rows"] and lacking:
            warnings.append(f"column {name} lacks a finite number in {lacking} rows")
        elif moments.low[place] == moments.high[place]:
            warnings.append(f"column {name} is constant: nothing can be learnt from it")
    if others:
        facts["other columns"] = ", ".join(others)
    if not facts["rows"]:
        warnings.append("it has no rows")
    if names and not any(units):
        warnings.append("no units are stated: numbers are taken as they come")
    return facts | {"warnings": warnings}


class _Moments:
    """Range, mean and deviation of columns, block by block."""

    def __init__(self, columns: int) -> None:
        self.low, self.high = np.full(columns, np.inf), np.full(columns, -np.inf)
        self.count, self.mean, self.squares = (np.zeros(columns) for _ in range(3))

    def see(self, values: NDArray[np.float64]) -> None:
        known = np.isfinite(values)
        self.low = np.minimum(self.low, np.where(known, values, np.inf).min(axis=0))
        self.high = np.maximum(self.high, np.where(known, values, -np.inf).max(axis=0))
        count = known.sum(axis=0)
        mean = np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(known, values - mean, 0)).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        step = mean - self.mean
        self.squares += squares + step**2 * self.count * count / total
        self.mean = self.mean + step * count / total
        self.count = self.count + count

    def line(self, place: int, unit: str) -> str:
        if not self.count[place]:
            return "no number"
        deviation = np.sqrt(self.squares[place] / self.count[place])
        return (
            f"{self.low[place]:.4g} to {self.high[place]:.4g}, mean {self.mean[place]:.4g}, "
            f"deviation {deviation:.4g}" + (f" {unit}" if unit else "")
        )


def _filled(values: NDArray[np.float32]) -> tuple[float, float] | None:
    """The value that fills more than some per cent of an image, and its share; None without.

    Whole numbers repeat by nature: theirs must stand out from the next most frequent one.
    """
    some = values[:: max(1, len(values) // _FILL_SAMPLE)]
    found, counts = np.unique(some, return_counts=True)
    order = np.argsort(counts)[::-1]
    share = counts[order[0]] / len(some)
    whole = bool((found == np.rint(found)).all())
    if share < _FILLED or (whole and counts[order[0]] < _OUTSTANDING * counts[order[1]]):
        return None
    return float(found[order[0]]), float(share)


def _sample(image: SkyReader) -> tuple[NDArray[np.float32], bool]:
    """The image, or of a mosaic too large to hold strips of rows at equal distances."""
    channels, height, width = image.shape
    if channels * height * width <= _SAMPLE:
        return image.read().data, True
    tall = max(1, _SAMPLE // (_STRIPS * channels * width))
    tops = np.linspace(0, height - tall, min(_STRIPS, height // tall)).astype(int)
    strips = [image.read(slice(int(top), int(top) + tall)).data for top in tops]
    return np.concatenate(strips, axis=1), False


def _tiles(path: Path) -> Facts:
    from imgturbo.data import TileStore

    store = TileStore.open(path)
    facts: Facts = {"what": "store of rows of tables"}
    if store.tile:
        facts = {"what": "tile store", "tile": f"{store.tile} pixels"}
        if store.factor > 1:
            facts["tile"] += f" of the target, {store.tile // store.factor} of the source"
    warnings = []
    if not store.listed:
        warnings.append(
            "it has no checksums and no list of its files, as version 0.1.0 left it: prepare it "
            "again, so that damage can be told"
        )
    for side in ("source", "target"):
        facts |= _side_facts(side, getattr(store, side))
    missing = _MISSING_SPLIT
    if not store.tile:
        missing = {key: text.replace("split", "tables") for key, text in missing.items()}
    for name in ("train", "validation"):
        split = store.split(name)
        count, pairs = len(split), int(np.sum(split.paired[:]))
        residual = split.residual[:]
        line = f"{count} {'tiles' if store.tile else 'rows'}, {pairs} paired"
        if not store.tile and count:
            kinds = [side for side in ("source", "target") if getattr(store, side) is not None]
            valid = [np.asarray(getattr(split, f"{side}_valid")) for side in kinds]
            held = [getattr(split, f"has_{side}") for side in kinds]
            lacking = sum(int((h & ~v).sum()) for h, v in zip(held, valid, strict=True))
            line += f", {lacking} sides not valid" if lacking else ""
        if np.isfinite(residual).any():
            line += f", registration residual {np.nanmedian(residual):.2f} px (median)"
        facts[name] = line
        if count == 0:
            warnings.append(f"no {name} {'tiles' if store.tile else 'rows'}: {missing[name]}")
        if np.isfinite(residual).any() and np.nanmedian(residual) > 0.5:
            warnings.append(f"{name}: the registration residual is above half a pixel")
    return facts | {"warnings": warnings}


def _bundle(path: Path) -> Facts:
    from imgturbo.bundle import load_bundle
    from imgturbo.nets import count_parameters, receptive_field

    bundle = load_bundle(path)
    facts: Facts = {"what": f"bundle {bundle.hash}"}
    facts |= _side_facts("source", bundle.source) | _side_facts("target", bundle.target)
    images = bundle.source.kind == bundle.target.kind == "image"
    for name, network in (("decoder", bundle.decoder), ("encoder", bundle.encoder)):
        if network is None:
            only = "source → target" if name == "encoder" else "target → source"
            facts[name] = f"none: only {only}"
            continue
        facts[name] = (
            f"{type(network).__name__}, {count_parameters(network):,} parameters, "
            f"{network.in_channels} → {network.out_channels} {'bands' if images else 'numbers'}"
        )
        if images:
            whole = network.whole_image
            sees = "the whole image" if whole else f"±{receptive_field(network)} pixels"
            facts[name] += f", receptive field {sees}, windows at multiples of {network.stride}"
        facts[name] += ", stochastic" if network.stochastic else ""
    for key, value in bundle.record.items():
        if key == "validation":
            facts[key] = ", ".join(
                f"{score} {number:.4g}" for score, number in (value or {}).items()
            )
        elif not isinstance(value, dict | list):
            facts[key] = value
    warnings = [
        f"the {name}'s unit is not known: fluxes are taken as they come, in one unit always"
        for name, side in (("source", bundle.source), ("target", bundle.target))
        if not side.unit and side.kind == "image"
    ]
    return facts | {"warnings": warnings}


def _run(path: Path) -> Facts:
    from imgturbo.training.checkpoint import Checkpoints

    found = Checkpoints(path / "checkpoints").all()
    if not found:
        raise ImgturboError(f"{path}: a run's folder without a complete checkpoint yet")
    return _checkpoint(found[0].path) | {"run": str(path)}


def _checkpoint(path: Path) -> Facts:
    from imgturbo.training.checkpoint import Checkpoint

    checkpoint = Checkpoint(path)
    problem = checkpoint.damage()
    if problem is not None:
        return {"what": "checkpoint", "warnings": [f"cannot be resumed from: {problem}"]}
    facts: Facts = {"what": "checkpoint"}
    for key, value in checkpoint.state.model_dump().items():
        if isinstance(value, str | int | float):
            facts[key] = value
    facts["size"] = f"{sum(f.stat().st_size for f in path.iterdir()) / 2**20:.1f} MiB"
    return facts | {"warnings": []}


def _side_facts(name: str, side: Side | None) -> Facts:
    if side is None:
        return {name: "absent"}
    if side.kind == "latent":
        return {name: f"{len(side)} numbers drawn from a prior"}
    if side.kind == "table":
        return {name: f"{len(side)} columns"} | {
            f"{name} {column}": f"{unit or 'no unit'}, {_scaling_line(side.stretch, place)}"
            for place, (column, unit) in enumerate(zip(side.names, side.units, strict=True))
        }
    scale = side.pixel_scale
    return {
        name: f"{', '.join(side.names)} in {side.unit or 'unstated unit'}"
        + (f", {scale:.4f} arcsec/pixel" if scale else ""),
        f"{name} stretch": _stretch_line(side.stretch),
    }


def _scaling_line(stretch: Stretch, place: int) -> str:
    """How one column of a table is scaled."""
    o, s, c = (float(v[place]) for v in (stretch.offset, stretch.softening, stretch.scale))
    above = f"(f {'−' if o >= 0 else '+'} {abs(o):.4g})"
    laws = {
        "linear": f"y = {above}/{c:.4g}",
        "log": f"y = ln(f/{o:.4g})/{c:.4g}",
        "asinh": f"y = asinh({above}/{s:.4g})/{c:.4g}",
    }
    return laws[stretch.kinds[place]]


def _stretch_line(stretch: Stretch) -> str:
    """offset / softening / scale a band."""
    rows = zip(stretch.offset, stretch.softening, stretch.scale, strict=True)
    line = "  ".join(f"{o:.4g}/{s:.4g}/{c:.4g}" for o, s, c in rows) + "  (offset/softening/scale)"
    if not stretch.bijective:
        return line
    return f"{line} after {', '.join(bijection.kind for bijection in stretch.before)}"
