"""Which small mistakes in the arithmetic would the tests let through?

    python -m benchmarks.mutants --count 100 --seed 1 [--only imgturbo/flows ...] [--all]

Draws changes by seed, one operator, comparison, number or truth each, over the rooms whose
arithmetic decides a result (`ROOMS`), in proportion to how much of it they hold. For each, that
room's own tests run in a copy of the tree. What survives is printed with file, line, and the
statement before and after; the exit status is 1 if anything did that `equivalent.txt` does
not know.

Libraries are imported once and every mutant is a fork: some two seconds each, where a tool that
starts a process a mutant (cosmic-ray) spends ten on `import torch`, and one that wraps functions
(mutmut) cannot change defaults, decorated functions and constants of a module. A first, traced
pass of a room's tests says which of them enter which function; a mutant is shown those that enter
its own, fastest first. Needs fork: Linux or macOS.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.mutants.bench import Bench
from benchmarks.mutants.changes import ROOT, mutant, places

EQUIVALENT = Path(__file__).with_name("equivalent.txt")
ROOMS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [  # sources, and the tests that are theirs
    (("imgturbo/turbo", "imgturbo/losses.py"), ("tests/turbo", "tests/test_losses.py")),
    (
        tuple(
            f"imgturbo/sky/{name}.py"
            for name in ("stretch", "bijection", "photometry", "units", "resampling")
        ),
        ("tests/sky",),
    ),
    (("imgturbo/simulators",), ("tests/simulators",)),
    (("imgturbo/data",), ("tests/data",)),
    (("imgturbo/flows",), ("tests/flows",)),
    (("imgturbo/mosaic",), ("tests/mosaic",)),
    (("imgturbo/metrics",), ("tests/metrics",)),
    (("data_prep/split.py", "data_prep/register"), ("tests/data_prep",)),
    (("imgturbo/training/ema.py",), ("tests/training/test_ema.py",)),
    (
        ("imgturbo/nets/noise.py",),
        ("tests/nets/test_noise.py", "tests/nets/test_stochastic.py"),
    ),
]


def sources(parts: tuple[str, ...]) -> list[str]:
    found = [ROOT / part for part in parts]
    files = [f for p in found for f in (sorted(p.glob("*.py")) if p.is_dir() else [p])]
    return [str(path.relative_to(ROOT)) for path in files]


def equivalents() -> dict[str, str]:
    """Mutants that change nothing, and why: ``path | before | after | reason``, one a line."""
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else []
    pairs = [line.rsplit(" | ", 1) for line in lines if line.strip() and not line.startswith("#")]
    return {key: reason for key, reason in pairs}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[""], help="files that begin so")
    parser.add_argument("--all", action="store_true", help="every mutant, not a draw")
    words = parser.parse_args()

    known, drawn = equivalents(), []
    for room, (parts, _) in enumerate(ROOMS):
        files = [path for path in sources(parts) if path.startswith(tuple(words.only))]
        drawn += [(room, *place) for path in files for place in places(path)]
    print(f"{len(drawn)} mutants in all", flush=True)
    if not words.all:
        random.Random(words.seed).shuffle(drawn)
        drawn = drawn[: words.count]
    killed = same = 0
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for number, (_, paths) in enumerate(ROOMS):
            mine = [mutant(*place) for room, *place in drawn if room == number]
            if not mine:
                continue
            room = bench.map([path for path in paths if (bench.tree / path).exists()])
            for one in mine:
                if one.key in known:
                    same += 1
                elif bench.survives(one, room):
                    alive.append(one)
                    before, after = one.shown()
                    print(f"{one.path}:{one.line}\n  - {before}\n  + {after}", flush=True)
                else:
                    killed += 1
            print(f"# {paths[0]}: {len(mine)} drawn; so far {killed} killed, {len(alive)} alive")
            sys.stdout.flush()
    print(f"{killed} killed, {len(alive)} alive, {same} equivalent, of {len(drawn)}")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
