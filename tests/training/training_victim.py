"""Runs ``imgturbo train`` and harms itself at a chosen moment; started by ``test_kill.py``.

    python training_victim.py CONFIG [HARM@RANK]

HARM is one of

    kill:N     SIGKILL within update N
    write:N    SIGKILL half-way through the N-th file of a checkpoint
    rename:N   SIGKILL right after the N-th checkpoint got its name, before the pointers and pruning
    prune:N    SIGKILL when the N-th old checkpoint is half deleted
    term:N     SIGTERM to itself before update N

    python training_victim.py --in-turn CONFIG HARM CONFIG HARM …

does so once for each pair, in forks of one process that has loaded all, and prints ``== STATUS``
after each. HARM may then also be empty, or ``outside:N``: SIGKILL at any moment after N lines of
the log.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imgturbo.cli.main import main
from imgturbo.training import best, checkpoint, loop
from imgturbo.training.checkpoint import Checkpoints


def kill(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


def before_the_nth(function: Callable[..., Any], n: int, harm: Callable[..., None]) -> Any:
    calls = 0

    def wrapped(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == n:
            harm(*args)
        return function(*args)

    return wrapped


def half_written(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])
    kill()


def half_deleted(_: Checkpoints, path: Path) -> None:
    next(path.glob("*.safetensors")).unlink()
    kill()


def arm(harm: str) -> None:
    kind, _, number = harm.partition(":")
    n = int(number)
    if kind == "write":
        checkpoint.write_durably = before_the_nth(checkpoint.write_durably, n, half_written)
    elif kind == "rename":
        Checkpoints._point = before_the_nth(Checkpoints._point, 2 * n - 1, lambda *_: kill())
    elif kind == "prune":
        Checkpoints._remove = before_the_nth(Checkpoints._remove, n, half_deleted)
    elif kind == "kill":
        real = loop.learning_rate_factor  # called within an update, after the backward

        def dying(step: int, *args: Any) -> float:
            if step + 1 == n:
                kill()
            return real(step, *args)

        loop.learning_rate_factor = dying
    elif kind == "term":
        update = loop._update

        def terminated(state: Any, *args: Any) -> Any:
            if state.progress.step + 1 == n:
                kill(signal.SIGTERM)
            return update(state, *args)

        loop._update = terminated
    else:
        raise ValueError(harm)


def run(config: str, *harms: str) -> None:
    for harm in harms:
        what, _, rank = harm.partition("@")
        if int(rank or 0) == int(os.environ.get("RANK", "0")):
            arm(what)
    main(["train", config])


def in_turn(config: str, harm: str) -> int:
    """A sitting in a fork; its status, negative if a signal ended it."""
    sys.stdout.flush()
    victim = os.fork()
    if not victim:
        run(config, *([harm] if harm and not harm.startswith("outside") else []))
    if harm.startswith("outside"):
        log, lines = Path(config).parent / "run" / "metrics.jsonl", int(harm.partition(":")[2])
        end = time.monotonic() + 200
        while time.monotonic() < end and not (
            log.exists() and log.read_text().count("\n") >= lines
        ):
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.03))
        os.kill(victim, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])


if __name__ == "__main__":
    best.write_samples = lambda *_, **__: None  # drawing takes longer than the training
    if sys.argv[1] == "--in-turn":
        for config, harm in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
            print(f"== {in_turn(config, harm)}", flush=True)
    else:
        run(*sys.argv[1:])
