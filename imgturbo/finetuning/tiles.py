r"""A tile store brought to a bundle's sides: its bands, its flux scale, its stretch.

A network knows nothing but the numbers of its training, y = S(f). Tiles of another stretch S′, of
another unit or zero point, are other numbers of the same sky, and

    y = S(k · S′⁻¹(y′)),      k from one flux scale to the other

are the ones that the network means; stretches are exactly invertible, so that nothing is lost. What
no factor leads to (other bands, units without zero points, pixels of another size) is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.bundle import Bundle
from imgturbo.data.layout import SPLITS
from imgturbo.data.store import Split, Tiles, TileSpec, TileStore
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.locks import locked
from imgturbo.mosaic.matching import SCALE_TOLERANCE, band_order, flux_factors
from imgturbo.places import free_folder
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.tables.quantity import factor_between

__all__ = ["onto_sides"]

_ROWS = 64  # tiles in memory at a time


class _Way(NamedTuple):
    """From the numbers of a store's side to those of the bundle's."""

    order: list[int]  # of the bundle's bands among the store's
    factors: NDArray[np.float64]  # (C,)
    old: Stretch
    new: Stretch

    @property
    def nothing(self) -> bool:
        """Whether the numbers are the bundle's already."""
        in_place = self.order == list(range(len(self.old)))
        return in_place and self.old == self.new and bool((self.factors == 1).all())

    def __call__(self, tiles: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Tiles (n, C′, …) of which (n, …) are valid → (n, C, …), 0 elsewhere."""
        planes = np.moveaxis(tiles, 1, 0).astype(np.float64)
        flux = self.old.inverse(planes)[self.order]
        flux *= self.factors.reshape(-1, *(1,) * (planes.ndim - 1))
        y = np.moveaxis(np.asarray(self.new(flux)), 0, 1).astype(np.float32)
        return np.where(valid[:, None], y, np.float32(0))


def onto_sides(store: TileStore, bundle: Bundle, out: Path) -> TileStore:
    """The store itself where it speaks the bundle's numbers, else a new one that does.

    Args:
        store: finished tiles, or rows.
        bundle: whose sides they are brought to.
        out: where the new store is written; one of the same tiles and sides is used again.

    Raises:
        ImgturboError: images for a bundle of tables, other bands, units or pixels, or a place that
            is taken.
    """
    ways = {
        name: _way(own, getattr(bundle, name), f"{store.path}: the {name}")
        for name in ("source", "target")
        if (own := getattr(store, name)) is not None
    }
    sides = {name: getattr(bundle, name) for name in ways}
    if all(way.nothing and getattr(store, name) == sides[name] for name, way in ways.items()):
        return store
    content = [store.digest, {name: side.to_dict() for name, side in sides.items()}]
    key = sha256(json.dumps(content, sort_keys=True).encode())
    free_folder(out, folders=[store.path], replaced=True)
    with locked(out, "free some space or choose another --out"):
        if (there := _finished(out, key)) is not None:
            return there
        spec = TileSpec(
            store.tile,
            sides.get("source"),
            sides.get("target"),
            tuple(store.fields),
            {**store.recipe, "key": key, "brought_to": bundle.hash},
            store.factor,
        )
        with TileStore.create(out, spec) as writer:
            for name in SPLITS:
                split = store.split(name)
                for rows in _alike(split):
                    writer.append(name, _moved(split, rows, ways))
    return TileStore.open(out)


def _way(own: Side, wanted: Side, what: str) -> _Way:
    if own.kind != wanted.kind:
        raise ImgturboError(
            f"{what} side holds {own.kind}s, and the bundle's {wanted.kind}s; give it those"
        )
    if own.kind == "table":
        order, factors = _columns(own, wanted, what)
    else:
        order = band_order(wanted.names, own.names, what)
        _check_pixels(own, wanted, what)
        given = [own.scales[place] for place in order]
        found = flux_factors(given, wanted, what)
        factors = np.ones(len(order)) if found is None else found
    return _Way(order, factors, own.stretch, wanted.stretch)


def _columns(own: Side, wanted: Side, what: str) -> tuple[list[int], NDArray[np.float64]]:
    missing = [name for name in wanted.names if name not in own.names]
    if missing:
        raise ImgturboError(
            f"{what}: has no column {missing[0]}, which the bundle was trained on; add it"
        )
    order = [own.names.index(name) for name in wanted.names]
    factors = []
    for place, name, unit in zip(order, wanted.names, wanted.units, strict=True):
        here = own.units[place]
        factor = factor_between(here, unit) if here and unit else 1.0
        if factor is None:
            raise ImgturboError(
                f"{what}: column {name} is in {here}, and the bundle wants {unit}, to which no "
                "factor leads; convert it first"
            )
        factors.append(factor)
    return order, np.array(factors)


def _check_pixels(own: Side, wanted: Side, what: str) -> None:
    here, there = own.pixel_scale, wanted.pixel_scale
    if here and there and abs(here / there - 1) > SCALE_TOLERANCE:
        raise ImgturboError(
            f"{what} has pixels of {here:.4g} arcsec, the bundle was trained at {there:.4g}; give "
            "the files, which are brought to its pixels, or prepare them with "
            f"'prepare.pixel_scale: {there:.4g}'"
        )


def _finished(out: Path, key: str) -> TileStore | None:
    try:
        store = TileStore.open(out)
    except ImgturboError:
        return None
    return store if store.recipe.get("key") == key else None


def _alike(split: Split) -> list[NDArray[np.int64]]:
    """Rows of a split in their order, a few at a time, all of which hold the same sides."""
    kinds = split.has_source.astype(int) + 2 * split.has_target
    edges = np.flatnonzero(np.diff(kinds)) + 1
    parts = np.split(np.arange(len(split)), edges)
    return [part[i : i + _ROWS] for part in parts for i in range(0, len(part), _ROWS)]


def _moved(split: Split, rows: NDArray[np.int64], ways: dict[str, _Way]) -> Tiles:
    values: dict[str, NDArray[np.float32] | None] = {"source": None, "target": None}
    valids: dict[str, NDArray[np.bool_] | None] = {"source": None, "target": None}
    for name, way in ways.items():
        if getattr(split, f"has_{name}")[rows[0]]:
            valid = getattr(split, f"{name}_valid").take(rows)
            values[name] = way(getattr(split, name).take(rows), valid)
            valids[name] = valid
    return Tiles(
        values["source"],
        values["target"],
        valids["source"],
        valids["target"],
        sky=split.sky[rows],
        position=split.position[rows],
        residual=split.residual[rows],
        field=split.field[rows],
    )
