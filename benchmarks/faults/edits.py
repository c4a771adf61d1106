"""Edits that the campaigns make: of trees of JSON and YAML, and of bytes."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["JUNK", "edited", "flipped"]

JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 3, 17, 10**6, 10**9, 2**31, 2**63, 2**64, 10**30, -(10**9), 0.0,
    -0.0, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 0.5, "", "x", "../../../etc/passwd",
    "decoder.safetensors", "\x00", "é", "inf", "nan", "unet", "cinn", "mlp", "a" * 3000, [], {},
    [[]], [0], ["a"], {"a": 1}, [None] * 5, [[[[]]]], {"kind": "unet"},
    {"kind": "unet", "width": 10**9}, {"kind": "mlp", "hidden": [10**9, 10**9]},
    {"kind": "unet", "depth": 60},
]  # fmt: skip

_KINDS = ["junk", "junk", "junk", "drop", "add", "swap", "number", "number", "text", "deep"]


def _nodes(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, dict | list):
        parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, part in parts:
            yield from _nodes(part, (*path, key))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def edited(tree: Any, rng: random.Random) -> tuple[Any, str]:
    """A copy with one value changed, and what was done to it."""
    tree = copy.deepcopy(tree)
    paths = [path for path in _nodes(tree) if path]
    if not paths:
        return rng.choice(JUNK), "all of it"
    path = rng.choice(paths)
    parent, key, dotted = _at(tree, path[:-1]), path[-1], ".".join(map(str, path))
    value, kind = parent[key], rng.choice(_KINDS)
    if kind == "drop":
        del parent[key]
    elif kind == "add" and isinstance(parent, dict):
        parent[rng.choice(["extra", "kind", "../x", "", "a.b"])] = copy.deepcopy(rng.choice(JUNK))
    elif kind == "swap":
        other = rng.choice(paths)
        if other[: len(path)] != path and path[: len(other)] != other:
            holder = _at(tree, other[:-1])
            parent[key], holder[other[-1]] = holder[other[-1]], value
    elif kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        parent[key] = rng.choice([value + 1, value - 1, value * 10, -value, value * 10**6])
    elif kind == "text" and isinstance(value, str):
        parent[key] = rng.choice([value.upper(), value + "x", value[1:], value * 50, value[::-1]])
    elif kind == "deep":
        for _ in range(rng.choice([10, 200, 900])):
            value = [value]
        parent[key] = value
    else:
        parent[key] = copy.deepcopy(rng.choice(JUNK))
    return tree, f"{kind} {dotted}"


def flipped(content: bytes, rng: random.Random, head: int = 200) -> bytes:
    """A copy with some bits changed, half of them within the first bytes."""
    out = bytearray(content)
    for _ in range(rng.choice([1, 1, 4, 32])):
        if out:
            end = min(head, len(out)) if rng.random() < 0.5 else len(out)
            out[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(out)
