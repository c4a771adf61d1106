"""What every campaign of faults shares: inputs by number, children to try them in, a last line.

A campaign is a module of two functions:

    build(folder) → state                   once a child: whole files, what was read of them
    attempt(state, rng, folder) → Trial     an input made with ``rng``, and what to do with it

``rng`` is seeded by (seed, number) alone. Children try ranges of numbers, under a limit of address
space and an alarm; each says which number it is at, so that one which dies, or which hangs where no
alarm is heard, costs that number alone. How an input may end is said in
:mod:`benchmarks.faults.trials`. Where TMPDIR lies in memory, as /dev/shm does, nobody waits for a
disk.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import queue
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.faults.trials import ROOT, Defect, Limits, Result, Trial, one

__all__ = [
    "ROOT",
    "Defect",
    "Limits",
    "Result",
    "Trial",
    "last_line",
    "main",
    "one",
    "report",
    "run",
]

_CHILD = "from benchmarks.faults.campaign import child; child()"
_START = 1800.0  # seconds in which a child must be at its first input, on a machine that others use


# ----------------------------------------------------------------------------- the child


def child() -> None:
    """Try a range of numbers; say on standard output where it is and how each ended."""
    name, seed, start, stop, place, bounds = sys.argv[1:]
    limits, folder = Limits(**json.loads(bounds)), Path(place)
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no result
    warnings.simplefilter("ignore")
    campaign = importlib.import_module(name)
    state = campaign.build(folder)
    if limits.space:
        resource.setrlimit(resource.RLIMIT_AS, (int(limits.space * 1e9),) * 2)
    for number in range(int(start), int(stop)):
        say.write(f"{number}\n")
        result = one(campaign, state, int(seed), number, folder, limits)
        say.write(json.dumps(asdict(result)) + "\n")


# ---------------------------------------------------------------------------- the parent


def run(
    name: str,
    count: int,
    seed: int = 0,
    first: int = 0,
    workers: int = 1,
    batch: int = 5000,
    limits: Limits | None = None,
    minutes: float = math.inf,
) -> list[Result]:
    """Try ``count`` inputs of a campaign, in children; what they gave, by number.

    Args:
        name: of the campaign's module.
        count, seed, first: which inputs.
        workers: children at a time.
        batch: inputs a child.
        limits: of each input.
        minutes: after which no other input is tried; what was tried by then counts.

    Raises:
        RuntimeError: a child ended before its first input: the campaign itself is broken.
    """
    todo: queue.SimpleQueue[range] = queue.SimpleQueue()
    for start in range(first, first + count, batch):
        todo.put(range(start, min(start + batch, first + count)))
    found: list[Result] = []
    broken: list[BaseException] = []
    end = time.monotonic() + 60 * minutes

    def work() -> None:
        try:
            while not broken and time.monotonic() < end:
                trying = _batch(name, seed, todo.get_nowait(), limits or Limits())
                with contextlib.closing(trying):
                    for result in trying:
                        found.append(result)
                        if broken or time.monotonic() > end:
                            break
        except queue.Empty:
            return
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return sorted(found, key=lambda result: result.number)


def _batch(name: str, seed: int, numbers: range, limits: Limits) -> Generator[Result, None, None]:
    """A child after the other, until every number has been tried."""
    while numbers:
        folder = Path(tempfile.mkdtemp(prefix="imgturbo-faults-"))
        with tempfile.TemporaryFile() as stderr:
            child = _start(name, seed, numbers, folder, limits, stderr)
            at, ending = None, "ended"
            try:
                for line in _lines(child, limits):
                    if line is None:
                        ending = "stuck"
                    elif line.startswith(b"{"):
                        yield Result(**json.loads(line))
                        at, numbers = None, numbers[1:]
                    else:
                        at = int(line)
            finally:
                _end(child)
                shutil.rmtree(folder, ignore_errors=True)
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")[-4000:]
        if at is not None:
            kind = ending if ending == "stuck" else f"crash ({child.returncode})"
            yield Result(at, f"defect:{kind}", "", said)
            numbers = numbers[1:]
        elif numbers:
            raise RuntimeError(f"{name}: a child ended before its first input: {said}")


def _start(
    name: str, seed: int, numbers: range, folder: Path, limits: Limits, stderr: Any
) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)
    what = [name, seed, numbers.start, numbers.stop, folder]
    child = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", _CHILD, *map(str, what),
         json.dumps(asdict(limits))],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
    )  # fmt: skip
    with contextlib.suppress(OSError, IndexError):  # Linux gives a new session a priority anew
        nice = Path("/proc/self/autogroup").read_text().split()[-1]
        Path(f"/proc/{child.pid}/autogroup").write_text(nice)
    return child


def _lines(child: subprocess.Popen[bytes], limits: Limits) -> Iterator[bytes | None]:
    """What the child says, line by line; None, and no more, when it says nothing for too long."""
    assert child.stdout is not None
    kept, patience = b"", _START
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(patience):
                yield None
                return
            piece = os.read(child.stdout.fileno(), 1 << 16)
            if not piece:
                return
            *lines, kept = (kept + piece).split(b"\n")
            yield from lines
            patience = limits.shared * limits.seconds + limits.patience


def _end(child: subprocess.Popen[bytes]) -> None:
    """Wait for a child that has said its last; kill one that has not, with all that it started."""
    try:
        child.wait(2)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert child.stdout is not None
    child.stdout.close()


# -------------------------------------------------------------------------- what is said


def report(results: Sequence[Result]) -> str:
    """The defects by groups, each with its shortest example."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.defect:
            groups.setdefault((result.outcome, result.group), []).append(result)
    lines = []
    for (outcome, group), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        example = min(members, key=lambda result: (len(result.recipe), result.number))
        lines += [f"{len(members)} × {outcome}: {group}", f"    number {example.number}"]
        lines += [f"    {line[:200]}" for line in example.recipe]
        lines += [f"    | {line[:200]}" for line in example.detail.splitlines()[-6:]]
    return "\n".join(lines)


def last_line(name: str, seed: int, results: Sequence[Result]) -> str:
    """The figure of a campaign."""
    counts = Counter(result.outcome.split(":")[0] for result in results)
    kinds = {(result.outcome, result.group) for result in results if result.defect}
    return (
        f"{name.rpartition('.')[2]}: {len(results)} inputs at seed {seed}, {counts['ok']} ok, "
        f"{counts['clean']} refused in one line, {counts['defect']} defects in {len(kinds)} groups"
    )


def main(name: str, about: str | None, count: int, limits: Limits | None = None) -> None:
    """The command line of a campaign: ``main(__spec__.name, __doc__, 10_000)``.

    Exits with status 1 if there is a defect.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=count, help="inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="children at a time")
    parser.add_argument("--batch", type=int, default=5000, help="inputs a child")
    parser.add_argument("--minutes", type=float, default=math.inf, help="try no more after them")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="that input, in this process")
    parser.add_argument("--folder", type=Path, help="where --only leaves its input")
    o = parser.parse_args()
    limits = limits or Limits()
    if o.only is not None:
        folder = o.folder or Path(tempfile.mkdtemp(prefix="imgturbo-faults-"))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"{folder} is not empty; give a folder that is, or none")
        campaign = importlib.import_module(name)
        warnings.simplefilter("ignore")
        result = one(campaign, campaign.build(folder), o.seed, o.only, folder, limits)
        print(*result.recipe, result.detail, result.outcome, f"left in {folder}", sep="\n")
        sys.exit(result.defect)
    results = run(name, o.count, o.seed, o.first, o.workers, o.batch, limits, o.minutes)
    found = report(results)
    work = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = f"{work.ru_utime + work.ru_stime:.0f} s of work, starts of children included"
    print(*([found] if found else []), f"{last_line(name, o.seed, results)}; {seconds}", sep="\n")
    sys.exit(any(result.defect for result in results))
