"""``imgturbo inspect``: what a thing is, and what would go wrong with it.

One dictionary a kind of thing — image, tile store, bundle, checkpoint or run — with the keys
``what`` and ``warnings`` always there; :mod:`imgturbo.report.tables` prints it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from imgturbo.errors import ImgturboError

__all__ = ["describe"]

Facts = dict[str, Any]


def describe(path: Path) -> Facts:
    """Facts about a FITS file or picture, a tile store, a bundle, a checkpoint or a run's folder.

    Raises:
        ImgturboError: nothing is there, or it is none of these.
    """
    path = Path(path)
    if not path.exists():
        raise ImgturboError(f"{path}: no such file or folder")
    if path.is_file():
        return _image(path)
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
    from imgturbo.sky import Stretch, read_sky

    image = read_sky(path)
    height, width = image.shape[1:]
    facts: Facts = {
        "what": "picture" if image.unit == "display" else "sky image",
        "bands": ", ".join(image.bands),
        "size": f"{width} × {height} pixels",
        "unit": image.unit or "not stated",
        "AB zero point": ", ".join(
            "unknown" if z is None else f"{z:.3f}" for z in image.zeropoints
        ),
        "valid": f"{image.valid.mean():.1%} of the pixels",
    }
    warnings = []
    if image.wcs is None:
        facts["WCS"] = "none"
        if image.unit != "display":
            warnings.append("no celestial WCS: it can be translated, but not reprojected or paired")
    else:
        assert image.pixel_scale is not None
        corners = image.wcs.pixel_to_world(
            [0, width - 1, width - 1, 0], [0, 0, height - 1, height - 1]
        )
        facts["pixel scale"] = f"{image.pixel_scale:.4f} arcsec"
        facts["footprint"] = "  ".join(
            f"{c.icrs.ra.deg:.5f} {c.icrs.dec.deg:+.5f}" for c in corners
        )
    stretch = (
        Stretch.linear(len(image.bands))
        if image.unit == "display"
        else Stretch.fit(image.data, image.valid)
    )
    facts["stretch (fitted here)"] = _stretch_line(stretch.to_dict())
    for band, plane in zip(image.bands, image.data, strict=True):
        finite = plane[np.isfinite(plane)]
        low, middle, high = np.percentile(finite, [0.1, 50, 99.9])
        facts[f"flux {band}"] = f"0.1 %: {low:.4g}  median: {middle:.4g}  99.9 %: {high:.4g}"
        if low == high:
            warnings.append(f"band {band} is constant")
    if image.valid.mean() < 0.5:
        warnings.append("less than half of the image is valid: few tiles will pass min_valid")
    if not image.unit:
        warnings.append("BUNIT is missing: fluxes cannot be compared with another instrument's")
    elif image.unit != "display" and None in image.zeropoints:
        warnings.append("no AB zero point (PHOTFLAM/PHOTPLAM or PIXAR_SR missing)")
    return facts | {"warnings": warnings}


def _tiles(path: Path) -> Facts:
    from imgturbo.tiles import TileStore

    store = TileStore.open(path)
    facts: Facts = {"what": "tile store", "tile": f"{store.tile} pixels"}
    warnings = []
    for side in ("source", "target"):
        facts |= _side_facts(side, getattr(store, side))
    for name in ("train", "validation"):
        split = store.split(name)
        count, pairs = len(split), int(np.sum(split.paired[:]))
        residual = split.residual[:]
        line = f"{count} tiles, {pairs} paired"
        if np.isfinite(residual).any():
            line += f", registration residual {np.nanmedian(residual):.2f} px (median)"
        facts[name] = line
        if count == 0:
            warnings.append(f"no {name} tiles")
        if np.isfinite(residual).any() and np.nanmedian(residual) > 0.5:
            warnings.append(f"{name}: the registration residual is above half a pixel")
    return facts | {"warnings": warnings}


def _bundle(path: Path) -> Facts:
    from imgturbo.bundle import load_bundle
    from imgturbo.nets import count_parameters, receptive_field

    bundle = load_bundle(path)
    facts: Facts = {"what": f"bundle {bundle.hash}"}
    facts |= _side_facts("source", bundle.source) | _side_facts("target", bundle.target)
    for name, network in (("decoder", bundle.decoder), ("encoder", bundle.encoder)):
        if network is None:
            facts[name] = "none: only source → target"
            continue
        facts[name] = (
            f"{type(network).__name__}, {count_parameters(network):,} parameters, "
            f"{network.in_channels} → {network.out_channels} bands, receptive field "
            f"±{receptive_field(network)} pixels, windows at multiples of {network.stride}"
            + (", stochastic" if network.stochastic else "")
        )
    for key, value in bundle.record.items():
        if not isinstance(value, dict | list):
            facts[key] = value
        elif key == "validation":
            facts[key] = json.dumps(value)
    return facts | {"warnings": []}


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
    state = checkpoint.state
    facts: Facts = {"what": "checkpoint", "step": state["step"]}
    facts |= {k: v for k, v in state.items() if isinstance(v, str | int | float) and k != "step"}
    facts["size"] = f"{sum(f.stat().st_size for f in path.iterdir()) / 2**20:.1f} MiB"
    return facts | {"warnings": []}


def _side_facts(name: str, side: dict[str, Any] | None) -> Facts:
    if side is None:
        return {name: "absent"}
    scale = side.get("pixel_scale")
    return {
        name: f"{', '.join(side['bands'])} in {side['unit'] or 'unstated unit'}"
        + (f", {scale:.4f} arcsec/pixel" if scale else ""),
        f"{name} stretch": _stretch_line(side["stretch"]),
    }


def _stretch_line(stretch: dict[str, Any]) -> str:
    """offset / softening / scale a band."""
    rows = zip(stretch["offset"], stretch["softening"], stretch["scale"], strict=True)
    return (
        "  ".join(f"{o:.4g}/{float(s):.4g}/{c:.4g}" for o, s, c in rows)
        + "  (offset/softening/scale)"
    )
