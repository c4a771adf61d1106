"""Two at once on one output: two shells, a double click, a job that a clock starts again.

    python -m benchmarks.faults.together --count 12 --seed 0

One of them does the work; the other is refused in a line that names the first, or comes too late
and finds it done. The output is that of one that was alone, and nothing is left aside.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.faults.kills import JOBS, Job
from benchmarks.faults.small import launch

REFUSED = "is at work on it"
TOO_LATE = ("exists already", "nothing to do")


def pair(job: Job, folder: Path, rng: random.Random, seconds: float) -> list[str]:
    """Start a job twice; what is wrong."""
    folder.mkdir()
    words = job.words(folder)
    logs = [folder / "1.txt", folder / "2.txt"]
    one = launch(words, logs[0])
    # Mostly while the first is at work, which is after its interpreter has begun.
    time.sleep(rng.choice([0.0, rng.uniform(0, 0.2), rng.uniform(0, seconds)]))
    two = launch(words, logs[1])
    codes = [one.wait(), two.wait()]
    said = [log.read_text() for log in logs]
    problems = []
    if 0 not in codes:
        problems.append(f"none of them did it: {codes} {said[0][-200:]} {said[1][-200:]}")
    for code, text in zip(codes, said, strict=True):
        lines = [line for line in text.splitlines() if line.startswith("error:")]
        known = len(lines) == 1 and any(part in lines[0] for part in (REFUSED, *TOO_LATE))
        if "Traceback" in text or (code != 0 and not (code == 2 and known)):
            problems.append(f"exit {code}: {text[-300:]}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=12, help="pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", choices=sorted(JOBS), default=sorted(JOBS))
    o = parser.parse_args()
    base, rng = Path(tempfile.mkdtemp(prefix="imgturbo-together-")), random.Random(o.seed)
    jobs = {}
    for name in o.jobs:
        job, whole = JOBS[name](base, 1), base / f"{name}-alone"
        whole.mkdir()
        started = time.monotonic()
        assert launch(job.words(whole), base / "alone.txt").wait() == 0
        jobs[name] = job, job.output(whole), time.monotonic() - started
    problems: list[str] = []
    for n in range(o.count):
        name = o.jobs[n % len(o.jobs)]
        job, truth, seconds = jobs[name]
        folder = base / f"{name}-{n}"
        wrong = pair(job, folder, rng, seconds)
        if not wrong and job.output(folder) != truth:
            wrong.append("the output is not that of one alone")
        left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
        wrong += [f"left aside {left}"] if left else []
        problems += [f"{name} {n}: {line}" for line in wrong]
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"together: {o.count} pairs at seed {o.seed}, {len(problems)} problems")
    shutil.rmtree(base)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
