"""Damaged configs and overrides: structure, anchors, tags, nesting, odd values.

python -m benchmarks.faults.config --count 10000 --seed 0
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import yaml

from benchmarks.faults.campaign import ROOT, Trial, main
from benchmarks.faults.edits import JUNK, edited, flip
from imgturbo.config import Config, load_config

CANARY = "imgturbo-code-was-run"
SCALARS = [
    "2024-13-45", "2024-01-01T99:99:99Z", "0x", "0b2", "0o9", "1_000", "1e5", ".inf", ".nan",
    "1:30:99", "~", "yes", "no", "on", "=", "<<", "!!int x", "!!float x", "!!bool x",
    "!!timestamp x", "!!null x", "!!binary '!'", "!!binary 'AAAA'", "!!set {a, b}",
    "!!omap [a: 1]", "!!pairs [a]", f"!!python/object/apply:os.mkdir ['{CANARY}']",
    "!!python/name:os.system", "!foo bar", "!!str", "!!map []", "!!seq {}", "1" * 5000,
    "-" + "9" * 4400, "0x" + "f" * 5000, "1e" + "9" * 400, "'" + "a" * 100_000 + "'", '"\\x00"',
    '"\\ud800"', '"\\U00110000"', "&a [*a]", "&a {x: *a}", "*nope", "[" * 50 + "]" * 50,
    "[" * 3000, "{a: " * 300 + "1" + "}" * 300, "? [1, 2]\n: 3", "{[1]: 2}", "{{a: 1}: 2}",
    "{1: 2}", "{null: 1}", "{.nan: 1}", "{true: 1}", "| \n text", "'open", '"open', "@x", "`x`",
    "%x", "- - - 1", "\t1", "[1, 2", "{a: 1", "a: b: c", "...", "--- x", "é", "\ufeff", "\x85",
]  # fmt: skip
KEYS = [
    "train.steps", "train.lr", "seed", "name", "model.decoder.width", "model.decoder.kind",
    "train", "model.decoder", "prepare.fields", "a", "", ".", "train.", ".x", "train..steps",
    "seed.x", "prepare.fields.0", "objective.paired.x_tilde", "data.crop", "train.out",
]  # fmt: skip
WAYS = ["tree"] * 3 + ["value"] * 3 + ["line", "bytes", "twice", "indent", "merge", "key"]


def build(_: Path) -> list[str]:
    """The texts of all configs that ship."""
    return [path.read_text() for path in sorted((ROOT / "configs").rglob("*.yaml"))]


def attempt(texts: list[str], rng: random.Random, folder: Path) -> Trial:
    content, recipe = rng.choice(texts).encode(), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        content, note = _changed(content, rng)
        recipe.append(note)
    overrides = []
    if rng.random() < 0.25:
        value = rng.choice([*SCALARS, *map(str, JUNK)])[:5000]
        overrides = [rng.choice(KEYS) + rng.choice(["=", "=", "=", ""]) + value]
        recipe.append(f"override {overrides[0]}")
    path = folder / "c.yaml"
    path.write_bytes(content)
    return Trial(recipe, lambda: load_config(path, overrides), _wrong)


def _wrong(config: Config) -> str | None:
    if Path(CANARY).exists():
        return "code was run"
    bad = [k for k, v in config.train.model_dump().items() if isinstance(v, float)]
    bad = [k for k in bad if not math.isfinite(getattr(config.train, k))]
    return f"not finite: {bad}" if bad else None


def _changed(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    way = "aliases" if rng.random() < 0.01 else rng.choice(WAYS)
    if way == "bytes":
        return flip(content, rng, 400), way
    text = content.decode("utf-8", "surrogateescape")
    if way == "aliases":
        return _aliases(rng).encode() + b"\n" + content, way
    if way == "tree" and b"&lol" not in content:  # a tree of all that aliases mean has no end
        try:
            tree, note = edited(yaml.safe_load(text) or {}, rng)
            return yaml.safe_dump(tree).encode("utf-8", "surrogatepass"), note
        except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return content, "nothing"
    lines = text.split("\n")
    at = [n for n, line in enumerate(lines) if ":" in line and line.strip()[:1] != "#"]
    if not at:
        return content, "nothing"
    n = rng.choice(at)
    head, _, tail = lines[n].partition(":")
    if way == "value":
        lines[n] = f"{head}: {rng.choice(SCALARS)}"
    elif way == "line":
        lines.insert(n, rng.choice([*SCALARS, "seed: 1", "  x: 1", "train:", "- a"])[:200])
    elif way == "twice":
        lines.insert(n, lines[n])
    elif way == "indent":
        lines[n] = " " * rng.randrange(6) + lines[n].lstrip()
    elif way == "merge":
        lines.insert(0, "x: &x {seed: 3, train: {steps: 1}}")
        lines[n] = head + ": {<<: *x}"
    else:
        lines[n] = rng.choice([head + "x", head.upper(), "? " + head, "1", "null", "<<"])
        lines[n] += ":" + tail
    return "\n".join(lines).encode("utf-8", "surrogateescape"), f"{way} {lines[n][:60]}"


def _aliases(rng: random.Random) -> str:
    """Aliases of aliases, which mean more than they say."""
    deep, wide = rng.choice([5, 8, 12, 30, 60]), rng.choice([2, 9, 10])
    lines = ["lol0: &lol0 [" + ", ".join(["lol"] * wide) + "]"]
    for n in range(1, deep):
        lines.append(f"lol{n}: &lol{n} [" + ", ".join([f"*lol{n - 1}"] * wide) + "]")
    where = rng.choice(["name", "seed", "train", "prepare", "model"])
    return "\n".join([*lines, f"{where}: *lol{deep - 1}"])


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000)
