"""Edits that the campaigns of folders share: of JSON by its tree, of bytes, of safetensors."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["JUNK", "edit_json", "edit_weights", "edited", "flip"]

Path = tuple[str | int, ...]

JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 17, 10**6, 10**9, 2**31, 2**63, 2**64, 10**30, -(10**9), 0.0,
    -0.0, 0.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), "", "x", "../../../etc/passwd",
    "/etc/passwd", "decoder.safetensors", "\x00", "é", "inf", "nan", "yes", "unet", "cinn",
    "diffusion", "nafnet", "mlp", "a" * 3000, [], {}, [[]], [0], ["a"], {"a": 1}, [None] * 5,
    {"kind": "unet"}, {"kind": "unet", "width": 10**9}, {"kind": "unet", "width": 30000},
    {"kind": "unet", "depth": 20}, {"kind": "unet", "depth": 16}, {"kind": "unet", "blocks": 10**7},
    {"kind": "resnet", "width": 10**9, "blocks": 10**6}, {"kind": "resnet", "blocks": 1024},
    {"kind": "mlp", "hidden": [10**9, 10**9]}, {"kind": "cinn", "stages": [{"width": 9000}] * 9},
    {"kind": "nafnet", "width": 9000, "spread": 4095}, {"kind": "diffusion", "depth": 16},
]  # fmt: skip


def edited(tree: Any, rng: random.Random) -> tuple[Any, str]:
    """A copy of a tree of JSON or YAML with one thing changed, and what."""
    try:
        tree = copy.deepcopy(tree)
    except RecursionError:  # an earlier edit made it so deep
        tree = None
    if not isinstance(tree, dict | list) or not tree:
        return copy.deepcopy(rng.choice(JUNK)), "all of it"
    return tree, edit_json(tree, rng, deepest=900)


def edit_json(
    tree: Any,
    rng: random.Random,
    under: Sequence[str] = (),
    junk: Sequence[Any] = JUNK,
    deepest: int = 20_000,
) -> str:
    """Change one thing in a tree of JSON, in place; says what.

    Args:
        tree: an object or a list.
        rng: decides what.
        under: only below these keys of the top.
        junk: what takes the place of a value.
        deepest: lists within each other.
    """
    paths = [p for p in _places(tree) if p and (not under or p[0] in under)]
    if not paths:
        return "nothing to edit"
    place = rng.choice(paths)
    parent, key = _at(tree, place[:-1]), place[-1]
    value, name = parent[key], ".".join(map(str, place))
    what = rng.choice(["junk", "junk", "junk", "drop", "add", "swap", "number", "string", "deep"])
    if what == "drop":
        del parent[key]
        return f"- {name}"
    if what == "add":
        new = copy.deepcopy(rng.choice(junk))
        if isinstance(parent, dict):
            key = rng.choice(["extra", "kind", "width", "../x", "", "encoder", "a.b"])
            parent[key] = new
        else:
            parent.insert(key, new)
        return f"+ beside {name}: {str(new)[:60]}"
    if what == "swap":
        return f"{name} <-> {_swap(tree, place, rng.choice(paths))}"
    if what == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        parent[key] = rng.choice(
            [value + 1, value - 1, value * 10, -value, value // 3, value * 1e9]
        )
    elif what == "string" and isinstance(value, str):
        parent[key] = rng.choice([value.upper(), value + "x", value[1:], value * 50, value[::-1]])
    elif what == "deep":
        parent[key] = _nested(rng.choice([10, 190, deepest]))
    else:
        parent[key] = copy.deepcopy(rng.choice(junk))
    return f"{name} = {'deep' if what == 'deep' else repr(parent[key])[:60]}"


def _places(tree: Any, at: Path = ()) -> Iterator[Path]:
    yield at
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    if isinstance(tree, dict | list) and len(at) < 50:
        for key, value in items:
            yield from (
                _places(value, (*at, key)) if isinstance(value, dict | list) else [(*at, key)]
            )


def _at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _swap(tree: Any, one: Path, two: Path) -> str:
    if one != two[: len(one)] and two != one[: len(two)]:
        a, b = _at(tree, one[:-1]), _at(tree, two[:-1])
        a[one[-1]], b[two[-1]] = b[two[-1]], a[one[-1]]
    return ".".join(map(str, two))


def _nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def flip(data: bytes, rng: random.Random, head: int = 300) -> bytes:
    """Some bits flipped, half of them near the beginning."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 4, 32])):
        if out:
            near = rng.random() < 0.5
            out[rng.randrange(min(head, len(out)) if near else len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The file cut short anywhere, or by a byte, or to nothing."""
    return data[: rng.choice([0, 1, rng.randrange(len(data) + 1), max(0, len(data) - 1)])]


def edit_weights(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A safetensors file, damaged, or made anew with another header or other numbers."""
    what = rng.choice(
        ["flip", "cut", "garbage", "length", "header", "header", "dtype", "nan", "deep"]
    )
    if what == "flip" or len(data) < 16:
        return flip(data, rng), "flipped"
    if what == "cut":
        return cut(data, rng), "cut"
    if what == "garbage":
        start = rng.randrange(len(data))
        return data[:start] + rng.randbytes(50) + data[start + 50 :], "garbage"
    if what == "length":
        length = rng.choice([2**63, 2**64 - 1, 10**12, 0, len(data)])
        return struct.pack("<Q", length) + data[8:], f"header of {length} bytes"
    size = struct.unpack("<Q", data[:8])[0]
    try:
        header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    except (ValueError, OverflowError, RecursionError):
        return flip(data, rng), "flipped"
    note = what
    if what == "header":
        note = f"header: {edit_json(header, rng)}"
    elif what == "dtype" and header:
        entry = header[rng.choice(sorted(header))]
        if isinstance(entry, dict):
            entry["dtype"] = rng.choice(["F64", "F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3", "X"])
    elif what == "nan":
        body = np.full(len(body) // 4, np.nan, "<f4").tobytes()
    try:
        text = b"[" * 20_000 if what == "deep" else json.dumps(header).encode()
    except (ValueError, RecursionError):
        return data, "nothing"
    return struct.pack("<Q", len(text)) + text + body, note
