"""Damaged and forged bundles: bundle.json, weights, links, paths, networks of absurd size.

    python -m benchmarks.faults.bundles [--count 10000] [--seed 0] [--workers 2]

Half of the inputs are accidents: a bundle that loads must then say and compute what the whole one
does, but for one of version 0.1.0, whose hash is of weights and stretches alone. Half are
forgeries: hashes and checksum are made to agree with the edit, as whoever edits a bundle could;
they must be refused or work, and take no more memory than their files.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.faults.campaign import Limits, Trial, main
from benchmarks.faults.edits import cut, edit_json, edit_weights, flip
from imgturbo.bundle import Bundle, load_bundle, save_bundle
from imgturbo.bundle.description import checksum, function_hash
from imgturbo.config import Config
from imgturbo.describe import describe
from imgturbo.engines import build_network, settle
from imgturbo.errors import ImgturboError
from imgturbo.nets import Generator, receptive
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

KINDS: list[dict[str, Any]] = [
    {"kind": "unet", "width": 3, "depth": 1, "blocks": 1},
    {"kind": "nafnet", "width": 4, "depth": 1, "middle": 1},
    {"kind": "cinn", "stages": [{"width": 4, "blocks": 1}, {"width": 4, "blocks": 1}],
     "condition": {"kind": "vgg", "width": 4, "max_width": 4, "blocks": 1}},
]  # fmt: skip
DESCRIPTION = "bundle.json"


class Whole(NamedTuple):
    """A bundle's files, and what it says and computes."""

    files: dict[str, bytes]
    facts: str
    output: NDArray[np.float32]


def make(path: Path, decoder: dict[str, Any]) -> None:
    """A bundle of a few kilobytes."""
    torch.manual_seed(0)
    config = settle(Config.model_validate({"name": "small", "model": {"decoder": decoder}}))
    both = decoder["kind"] == "unet"
    stretch = Stretch(np.zeros(2), np.full(2, 0.5), np.full(2, 2.0))
    sides = {
        "source": Side(("A", "B"), "nJy", stretch, pixel_scale=0.04, zeropoints=(25.0, None)),
        "target": Side(("C", "D"), "MJy/sr", stretch),
    }
    section = config.model.decoder
    save_bundle(
        path,
        decoder=build_network(section, 2, 2),
        encoder=build_network(section, 2, 2) if both else None,
        config=config,
        sides=sides,
        record={"step": 7, "validation": {"forward/psnr": 31.25}, "versions": {"torch": "2"}},
    )


def use(path: Path) -> tuple[str, NDArray[np.float32]]:
    """What the product does with a bundle."""
    try:
        bundle = load_bundle(path)
    except ImgturboError:
        describe(path)  # refuses it too
        raise
    describe(path)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(len(bundle.source), 16, 20)).astype(np.float32)
    return facts(bundle), bundle.translate(image).mean


def facts(bundle: Bundle) -> str:
    """All that a bundle says."""
    parts = (bundle.source, bundle.target, bundle.config, bundle.record, bundle.hash)
    return repr((*parts, bundle.decoder is None, bundle.encoder is None))


def measure_once() -> None:
    """How far a network of given layers and buffers sees is measured once a child.

    It takes most of the time of a bundle that loads, and weights play no part in it.
    """
    plain, known = receptive._reach, dict[object, int]()

    def reach(generator: Generator, axis: int) -> int:
        held = tuple((k, str(b.dtype), b.numpy().tobytes()) for k, b in generator.named_buffers())
        key = (repr(generator), generator.stride, generator.zoom, held, axis)
        if key not in known:
            known[key] = plain(generator, axis)
        return known[key]

    receptive._reach = reach


def build(folder: Path) -> list[Whole]:
    torch.set_num_threads(1)
    measure_once()
    found = []
    for number, kind in enumerate(KINDS):
        path = folder / f"whole{number}"
        make(path, kind)
        said, output = use(path)
        found.append(Whole({f.name: f.read_bytes() for f in path.iterdir()}, said, output))
    return found


def attempt(state: list[Whole], rng: random.Random, folder: Path) -> Trial:
    whole = rng.choice(state)
    forged, former = rng.random() < 0.5, rng.random() < 0.2
    files, links = dict(whole.files), dict[str, str | None]()
    if former:
        files[DESCRIPTION] = _as_of_0_1_0(files[DESCRIPTION])
    recipe = ["forged" if forged else "accident", "0.1.0" if former else "new"]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        recipe.append(_harm(files, links, rng))
    if forged:
        _agree(files)
    path = folder / "bundle"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for name, data in files.items():
        if name not in links:
            (path / name).write_bytes(data)
        elif links[name] is None:
            (path / name).mkdir()
        else:
            os.symlink(str(links[name]), path / name)
    return Trial(recipe, lambda: use(path), _check(whole, recipe))


def _check(whole: Whole, recipe: list[str]) -> Callable[[Any], str | None]:
    def check(found: tuple[str, NDArray[np.float32]]) -> str | None:
        said, output = found
        if recipe[0] == "forged" or recipe[1] == "0.1.0":
            return None
        if said != whole.facts:
            return f"a damaged bundle says something else: {recipe}"
        same = output.shape == whole.output.shape and np.array_equal(output, whole.output)
        return None if same else f"a damaged bundle computes something else: {recipe}"

    return check


def _harm(files: dict[str, bytes], links: dict[str, str | None], rng: random.Random) -> str:
    rest = ["bit", "bytes", "weights", "swap", "missing", "link", "files", "extra", "folder"]
    what = rng.choice(["edit"] * 7 + ["weights", *rest])
    weights = sorted(name for name in files if name.endswith(".safetensors")) or [DESCRIPTION]
    raw = files.get(DESCRIPTION, b"{}")
    if what == "edit":
        return _edit(files, raw, rng)
    if what == "bit":
        at = rng.randrange(len(raw)) if raw else 0
        files[DESCRIPTION] = raw[:at] + bytes(b ^ 1 << rng.randrange(8) for b in raw[at : at + 1])
        files[DESCRIPTION] += raw[at + 1 :]
    elif what == "bytes":
        files[DESCRIPTION] = flip(raw, rng) if rng.random() < 0.6 else cut(raw, rng)
    elif what == "weights":
        name = rng.choice(weights)
        files[name], note = edit_weights(files.get(name, b""), rng)
        return f"{name}: {note}"
    elif what == "swap":
        one, two = rng.choice(weights), rng.choice(weights)
        files[one], files[two] = files.get(two, b""), files.get(one, b"")
    elif what == "missing":
        files.pop(rng.choice(sorted(files)), None)
    elif what == "link":
        name = rng.choice([*weights, DESCRIPTION])
        links[name] = rng.choice(["/etc/passwd", "/dev/zero", name, "/nowhere", ".."])
        files.setdefault(name, b"")
        return f"{name} -> {links[name]}"
    elif what == "files":
        return _edit(files, raw, rng, ["files"])
    elif what == "extra":
        files[rng.choice(["model.pkl", "setup.py", "x.safetensors"])] = b"cos\nsystem\n(S'x'\ntR."
    else:
        links[rng.choice([*weights, DESCRIPTION])] = None
    return what


def _edit(
    files: dict[str, bytes], raw: bytes, rng: random.Random, under: list[str] | None = None
) -> str:
    try:
        content = json.loads(raw)
        areas: list[list[str]] = [[], ["config"], ["sides"], ["record"]]
        said = edit_json(content, rng, under or rng.choice(areas))
        files[DESCRIPTION] = json.dumps(content).encode()
    except (ValueError, RecursionError):
        return "nothing"
    return said


def _as_of_0_1_0(raw: bytes) -> bytes:
    content = json.loads(raw)
    del content["checksum"]
    named = {
        "weights": {name: entry["sha256"] for name, entry in content["files"].items()},
        "stretches": {name: side["stretch"] for name, side in content["sides"].items()},
    }
    text = json.dumps(named, sort_keys=True).encode()
    content["hash"] = hashlib.sha256(text).hexdigest()[:12]
    return json.dumps(content).encode()


def _agree(files: dict[str, bytes]) -> None:
    """Bring sizes, hashes and checksum after the edit, as far as they can be."""
    try:
        content = json.loads(files[DESCRIPTION])
        for name in content["files"]:
            data = files[name]
            digest = hashlib.sha256(data).hexdigest()
            content["files"][name] = {"bytes": len(data), "sha256": digest}
        content["hash"] = function_hash(content)
        content["checksum"] = checksum(content)
        files[DESCRIPTION] = json.dumps(content).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000, Limits(space=8.0))
