"""Jobs that are killed at moments that nobody chose, and go on.

    python -m benchmarks.faults.kills --job train --processes 2 --count 25 --seed 0
    python -m benchmarks.faults.kills --job translate --signal TERM --count 10

Four sittings of five are forked from this process, in which all is loaded, so that a sitting is the
job and not its imports; the fifth starts an interpreter of its own, as a launcher's always do, and
may be killed while that loads.

A chain of sittings is ended, each at a random moment, until one comes to its end. That end must be
bit-identical to that of a job that was left alone; after each sitting nothing half-written has a
final name, nobody of its processes lives on for more than ten seconds, and SIGTERM and SIGINT have
said in a line how to go on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import yaml

from benchmarks.faults.small import (
    ENVIRONMENT,
    command,
    launch,
    make_bundle,
    make_sky,
    make_training,
    undated,
)
from imgturbo.cli.main import main as cli
from imgturbo.files import sha256

ORPHANS = 10.0  # seconds that a process may outlive the one it works for
PATIENCE = 120.0  # seconds until a sitting that was told to stop has stopped
STEPS = 30
COLD = 0.2  # share of the sittings of one process that load all anew
_LONGEST = 40  # sittings of a chain, the last of which is left alone


@dataclass(frozen=True)
class Job:
    """What is killed.

    Args:
        words: of the command, in a folder.
        output: what it leaves in a folder, comparable.
        begun: what shows in the folder as soon as there is work to lose.
        final: the output's name, which nothing half-written may have; None: no such name.
    """

    words: Callable[[Path], list[str]]
    output: Callable[[Path], Any]
    begun: str
    final: str | None


@dataclass
class Found:
    """What came of the kills."""

    kills: int = 0
    resumed: int = 0
    chains: int = 0
    problems: list[str] = field(default_factory=list)

    def say(self, problem: str) -> None:
        """Note a problem, and print it at once."""
        self.problems.append(problem)
        print(problem, flush=True)


def train(base: Path, processes: int) -> Job:
    """A training of a few hundred weights, with a checkpoint every second step."""

    def words(folder: Path) -> list[str]:
        path = folder / "training.yaml"
        if not path.exists():
            make_training(folder, STEPS)
        return command("train", path, processes=processes)

    def output(folder: Path) -> Any:
        run = folder / "run"
        last = run / "checkpoints" / f"step-{STEPS:08d}"
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        timed = ("seconds", "samples_per_second")
        logged = [{k: v for k, v in line.items() if k not in timed} for line in lines]
        weights = sorted([*last.glob("*.safetensors"), *(run / "bundle").glob("*.safetensors")])
        assert len(weights) > 3
        left = [p.name for p in run.rglob("*") if p.name.startswith((".", "tmp-"))]
        return logged, [(path.name, sha256(path)) for path in weights], left

    return Job(words, output, "run/checkpoints/last.json", None)


def translate(base: Path, processes: int) -> Job:
    """A mosaic of many windows."""
    sky, bundle = make_sky(base / "sky.fits", 800, 1000), make_bundle(base / "bundle")

    def words(folder: Path) -> list[str]:
        out = ["--out", folder / "out.fits", "--window", 40]
        return command("translate", "--bundle", bundle, sky, *out, processes=processes)

    return Job(words, lambda folder: undated(folder / "out.fits"), ".out.fits.part", "out.fits")


def prepare(base: Path, processes: int) -> Job:
    """Three fields, by two workers."""
    fields = []
    for n in range(3):
        sky = base / f"sky{n}"
        log = base / "simulate.log"
        assert (
            launch(command("simulate", "--out", sky, "--size", 256, "--seed", n), log).wait() == 0
        )
        sides = {"source": "hst*", "target": "jwst*"}
        files = {side: sorted(map(str, sky.glob(glob))) for side, glob in sides.items()}
        fields.append({"name": f"f{n}", **files})

    def words(folder: Path) -> list[str]:
        tree = {"fields": fields, "tile": {"size": 32, "min_valid": 0.5}, "workers": 2}
        path = folder / "prepare.yaml"
        path.write_text(yaml.safe_dump({"prepare": {**tree, "out": str(folder / "t.zarr")}}))
        return command("prepare", path)

    def output(folder: Path) -> Any:
        store = folder / "t.zarr"
        files = sorted(path for path in store.rglob("*") if path.is_file())
        return [(str(path.relative_to(store)), sha256(path)) for path in files]

    return Job(words, output, ".t.zarr.work", "t.zarr")


JOBS = {"train": train, "translate": translate, "prepare": prepare}


# ------------------------------------------------------------------------------- the sittings


class Forked:
    """A command of this process's own fork, which can be waited for as a Popen."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            status = 70
            try:
                status = self._run(words, log)
            finally:
                os._exit(status)

    def _run(self, words: Sequence[str], log: Path) -> int:
        os.setsid()
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.environ.update(ENVIRONMENT)
        try:
            cli(words)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        return code if isinstance(code, int) else int(code is not None)

    def poll(self) -> int | None:
        """Its status, once it has ended."""
        return self._waited(os.WNOHANG)

    def wait(self) -> int:
        """Its status, as soon as it has ended."""
        found = self._waited(0)
        assert found is not None
        return found

    def _waited(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


Process = Popen[bytes] | Forked


def _sit(words: Sequence[str], log: Path, cold: bool) -> Process:
    """Start a sitting."""
    if cold or words[:3] != [sys.executable, "-m", "imgturbo"]:
        return launch(words, log)
    return Forked(words[3:], log)


def _load(job: str) -> None:
    """Import what a job imports, and start nothing."""
    for name in {"train": ("imgturbo.training.loop", "accelerate", "imgturbo.engines.table"),
                 "translate": ("imgturbo.mosaic.files",),
                 "prepare": ("data_prep.prepare",)}[job]:  # fmt: skip
        importlib.import_module(name)


# ---------------------------------------------------------------------------------- the kills


def kills(
    job: Job, base: Path, count: int, rng: random.Random, number: int, processes: int
) -> Found:
    """Kill a job so many times, in as many chains as that takes."""
    whole, found = base / "whole", Found()
    whole.mkdir()
    started = time.monotonic()
    process = _sit(job.words(whole), base / "whole.log", processes > 1)
    first = None
    while process.poll() is None:
        if first is None and (whole / job.begun).exists():
            first = time.monotonic() - started
        time.sleep(0.005)
    assert process.returncode == 0, (base / "whole.log").read_text()
    seconds, truth = time.monotonic() - started, job.output(whole)
    first = seconds if first is None else first
    while found.kills < count:
        found.chains += 1
        folder = base / f"chain{found.chains}"
        folder.mkdir()
        for sitting in range(_LONGEST):
            before = (folder / job.begun).exists()
            log = folder / f"log{sitting}.txt"
            cold = processes > 1 or rng.random() < COLD
            process = _sit(job.words(folder), log, cold)
            if found.kills >= count or sitting == _LONGEST - 1:
                process.wait()
            early = rng.random() < 0.25
            _wait(process, rng.uniform(0.1, first) if early else _begun(process, folder, job, 60))
            if not early:
                _wait(process, rng.uniform(0, 1.05 * (seconds - first)))
            if process.poll() is None:
                found.kills += 1
                found.resumed += before
                print(f"kill {found.kills}, chain {found.chains}", flush=True)
                _end(process, number, processes, rng, found, str(log))
                final = job.final and folder / job.final
                if final and final.exists() and job.output(folder) != truth:
                    found.say(f"{log}: half-written under the final name")
                _judge(process, number, processes, log, found)
                continue
            said = log.read_text()
            if process.returncode == 0 or "exists already" in said:  # killed at its very end
                break
            found.say(f"{log}: exit {process.returncode}: {said[-300:]}")
            break
        if job.output(folder) != truth:
            found.say(f"{folder}: the end differs")
        left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
        if left:
            found.say(f"{folder}: left aside {left}")
    return found


def _begun(process: Process, folder: Path, job: Job, patience: float) -> float:
    """Wait until there is work to lose; 0 seconds more to wait."""
    end = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < end and not (folder / job.begun).exists():
        time.sleep(0.002)
    return 0


def _wait(process: Process, seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def _end(
    process: Process,
    number: int,
    processes: int,
    rng: random.Random,
    found: Found,
    where: str,
) -> None:
    """Signal all, the main one or one worker of them, and see that none lives on."""
    try:
        main = psutil.Process(process.pid)
        everyone = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    scripts = [p for p in everyone[1:] if "scripts" in " ".join(_words(p))]
    victims = [main]
    if number == signal.SIGKILL:
        ways = [everyone, [main], *([[worker] for worker in scripts] if processes > 1 else [])]
        victims = rng.choice(ways)
    for victim in victims:
        try:
            os.kill(victim.pid, number)
        except ProcessLookupError:
            continue
    _wait(process, PATIENCE)
    if process.poll() is None:
        found.say(f"{where}: did not end in {PATIENCE:.0f} s")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(everyone[1:], timeout=ORPHANS)
    alive = [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    if alive:
        found.say(f"{where}: {len(alive)} processes live on for {ORPHANS:.0f} s")
        for one in alive:
            one.kill()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _judge(process: Process, number: int, processes: int, log: Path, found: Found) -> None:
    """A job that was told to stop says so, and leaves no traceback."""
    if number == signal.SIGKILL or processes > 1:  # a launcher has its own words
        return
    said, code = log.read_text(), process.returncode
    if code not in (0, 128 + number, -number):
        found.say(f"{log}: exit {code} after signal {number}: {said[-300:]}")
    elif code == 128 + number and "stopped " not in said:
        found.say(f"{log}: does not say how to go on: {said[-300:]}")
    if "Traceback" in said:
        found.say(f"{log}: a traceback: {said[-300:]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--job", choices=sorted(JOBS), default="train")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--count", type=int, default=25, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="imgturbo-kills-"))
    started = time.monotonic()
    _load(o.job)
    job = JOBS[o.job](base, o.processes)
    number = signal.Signals[f"SIG{o.signal}"]
    found = kills(job, base, o.count, random.Random(o.seed), number, o.processes)
    print(
        f"kills: {o.job}, {o.processes} processes, SIG{o.signal}, seed {o.seed}: {found.kills} "
        f"kills in {found.chains} chains, {found.resumed} with work to go on from, "
        f"{len(found.problems)} problems, {time.monotonic() - started:.0f} s"
    )
    if not found.problems:
        shutil.rmtree(base)
    sys.exit(bool(found.problems))


if __name__ == "__main__":
    main()
