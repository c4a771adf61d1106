"""Damaged tile stores: bits flipped, files missing, cut, exchanged or edited, here and in 0.1.0's.

    python -m benchmarks.faults.tiles [--count 10000] [--seed 0] [--workers 2]

A store that is damaged must be refused, or be read as it was, arrays and attributes alike. Some of
the inputs are forged: the list of files is made anew after the edit, so that what lies behind it is
tried. Of stores of version 0.1.0, which have no checksums, only what is missing counts.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.campaign import ROOT, Limits, Trial, main
from benchmarks.faults.edits import cut, edit_json, flip
from benchmarks.faults.wholes import Tree
from imgturbo.config import DataConfig
from imgturbo.data import StoreSource, Tiles, TileSpec, TileStore, validation_batches
from imgturbo.data import store as layout
from imgturbo.data.stored import list_files
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

OLD = ROOT / "tests" / "training" / "version-0.1.0" / "tiles"
COLUMNS = ("source", "target", "source_valid", "target_valid", "has_source", "has_target", "paired",
           "sky", "position", "residual", "field")  # fmt: skip
MAY_BE_ZERO = ("sky", "position", "residual", "field")  # of version 0.1.0, which left zeros out


class State(NamedTuple):
    """The whole stores, by whether they have a list of files, and what is read of them."""

    whole: dict[bool, Tree]
    truth: dict[bool, dict[str, NDArray[Any]]]
    facts: dict[bool, str]


def make(path: Path) -> Path:
    """A small store of several chunks a shard and two shards a split."""
    layout._CHUNK_BYTES, layout._SHARD_BYTES = 4096, 8192
    stretch = Stretch(np.zeros(2), np.full(2, 0.5), np.full(2, 2.0))
    source = Side(("F606W", "F814W"), "electron/s", stretch, pixel_scale=0.05)
    target = Side(("F150W",), "MJy/sr", Stretch.linear(1), zeropoints=(28.0,))
    spec = TileSpec(17, source, target, ("a", "b"), {"inputs": ["a", "b"], "seed": 3})
    rng = np.random.default_rng(5)
    with TileStore.create(path, spec) as writer:
        for split, n in (("train", 3), ("validation", 2)):
            z = rng.normal(size=(n, 2, 17, 17)).astype(np.float32)
            ok = rng.random((n, 17, 17)) > 0.05
            rest = (
                rng.normal(size=(n, 2)),
                np.stack([np.arange(n)] * 2, 1).astype(np.int32),
                rng.random(n).astype(np.float32),
                (np.arange(n) % 2).astype(np.int32),
            )
            writer.append(split, Tiles(z, z[:, :1] / 2, ok, ok, *rest))
            writer.append(split, Tiles(z, None, ok, None, *rest))
    return path


def read(store: TileStore) -> dict[str, NDArray[Any]]:
    """Every array of a store."""
    return {
        f"{split}/{column}": np.array(getattr(store.split(split), column)[:])
        for split in layout.SPLITS
        for column in COLUMNS
    }


def facts(store: TileStore) -> str:
    """All that a store says of itself."""
    return repr((store.tile, store.source, store.target, store.fields, store.recipe, store.digest))


def build(folder: Path) -> State:
    places = {True: make(folder / "whole.zarr"), False: OLD}
    used = {key: use(path, 0) for key, path in places.items()}
    truth = {key: arrays for key, (arrays, _) in used.items()}
    whole = {key: Tree.of(path) for key, path in places.items()}
    return State(whole, truth, {key: said for key, (_, said) in used.items()})


def harm(place: Path, names: list[Path], rng: random.Random) -> str:
    """Damage one thing of a store; says what."""
    data = [name for name in names if name.suffix != ".json"]
    name = rng.choice(data if rng.random() < 0.6 else names)
    file = place / name
    if not file.is_file():
        return "nothing"
    raw = file.read_bytes()
    kinds = ["bit", "bit", "flip", "cut", "missing", "folder", "swap", "extra", "link", "device"]
    if name.suffix == ".json":
        kinds = ["edit"] * 12 + ["bit", "flip", "cut", "missing", "link"]
    what = rng.choice(kinds)
    if what == "bit":
        at = rng.randrange(len(raw))
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :])
    elif what == "flip":
        file.write_bytes(flip(raw, rng))
    elif what == "cut":
        file.write_bytes(cut(raw, rng))
    elif what == "missing":
        file.unlink()
    elif what == "folder":
        name = rng.choice([name.parent, *list(name.parents)[:-1]])
        shutil.rmtree(place / name)
    elif what == "swap":
        other = rng.choice(data)
        if (place / other).is_file():
            file.write_bytes((place / other).read_bytes())
            (place / other).write_bytes(raw)
        return f"{name} <-> {other}"
    elif what == "extra":
        name = Path(rng.choice(["x", "train/c", "train/source/c/9", ".zgroup", "train/.DS_Store"]))
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if not (place / name).exists():
            (place / name).write_bytes(b"junk")
    elif what in ("link", "device"):
        file.unlink()
        os.symlink("/dev/zero" if what == "device" else rng.choice([file.name, "..", "/no"]), file)
    else:
        return f"{name}: {_edited(file, raw, rng)}"
    return f"{name}: {what}"


def _edited(file: Path, raw: bytes, rng: random.Random) -> str:
    try:
        tree = json.loads(raw)
        said = edit_json(tree, rng, ["attributes"] if rng.random() < 0.5 else [])
        file.write_text(json.dumps(tree))
    except (ValueError, RecursionError):
        return "nothing"
    return said


def attempt(state: State, rng: random.Random, folder: Path) -> Trial:
    listed, cache = rng.random() < 0.7, rng.choice([0, 2 << 30])
    place = folder / "t.zarr"
    state.whole[listed].put(place)
    recipe = [f"{'listed' if listed else '0.1.0'}, {'' if cache else 'not '}cached"]
    for _ in range(rng.choice([1, 1, 1, 2])):
        recipe.append(harm(place, state.whole[listed].names, rng))
    forged = listed and rng.random() < 0.3 and (place / "zarr.json").is_file()
    if forged:
        (place / "files.json").unlink(missing_ok=True)
        _relist(place)
        recipe.append("listed anew")
    check = _check(state, listed, recipe)
    return Trial(recipe, lambda: use(place, cache), (lambda _: None) if forged else check)


def _relist(place: Path) -> None:
    for link in [file for file in place.rglob("*") if file.is_symlink()]:
        link.unlink()
    list_files(place)


def use(place: Path, cache: int) -> tuple[dict[str, NDArray[Any]], str]:
    """What the product does with a store."""
    try:
        store = TileStore.open(place, cache)
        found = read(store)
    except ImgturboError:
        describe(place)  # refuses it too, or says what it can
        raise
    describe(place)
    source = StoreSource(store, DataConfig(batch_size=3), 0)
    for step in range(2):
        source.batch(step)
    list(validation_batches(store, 2))
    return found, facts(store)


def _check(state: State, listed: bool, recipe: list[str]) -> Callable[[Any], str | None]:
    swapped = "not cached" in recipe[0] and any("<->" in line for line in recipe)

    def check(found: tuple[dict[str, NDArray[Any]], str]) -> str | None:
        arrays, said = found
        wrong = [
            name
            for name, value in state.truth[listed].items()
            if not np.array_equal(value, arrays[name], equal_nan=value.dtype.kind == "f")
        ]
        if not listed:  # without checksums only what is gone can be known
            gone = all(line.endswith((": missing", ": folder")) for line in recipe[1:])
            wrong = [name for name in wrong if gone and name.split("/")[1] not in MAY_BE_ZERO]
            return f"a missing chunk is read as zeros: {wrong} {recipe}" if wrong else None
        if wrong and not swapped:  # exchanged files of one size show when their hash is looked at
            return f"other values are read: {wrong} {recipe}"
        return None if said == state.facts[listed] else f"other attributes are read: {recipe}"

    return check


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000, Limits(space=8.0))
