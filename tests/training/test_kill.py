"""Law 5: a run that was killed, at whatever moment, ends with the same bits as one that was not.

A chain of runs is killed in turn at a random moment from outside, within an update, half-way
through writing a checkpoint, before its pointers, and half-way through pruning; then it is
compared with a run that was left alone: every byte of weights, moments, averages and image pools,
the bundle, and every logged number.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from training_standins import contents, logged, make_tiles, tiny

from imgturbo.bundle import load_bundle
from imgturbo.training.checkpoint import Checkpoints

VICTIM = Path(__file__).with_name("training_victim.py")
STEPS = 14


def prepare(folder: Path, tiles: Path) -> Path:
    config = tiny(folder, tiles, steps=STEPS, checkpoint_every=3, validate_every=5, keep=1)
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
    return path


def start(config: Path | str, *harm: str, processes: int = 1) -> subprocess.Popen[str]:
    launcher = [sys.executable]
    if processes > 1:
        launcher = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={processes}",
        ]  # fmt: skip
    return subprocess.Popen(
        [*launcher, str(VICTIM), str(config), *harm],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def run(config: Path | str, *harm: str, processes: int = 1) -> tuple[int, str]:
    process = start(config, *harm, processes=processes)
    output, _ = process.communicate(timeout=900)
    return process.returncode, output


def run_in_turn(*sittings: tuple[Path, str]) -> list[tuple[int, str]]:
    """Sittings of one process each, forked from one that has loaded all; status and output."""
    code, output = run("--in-turn", *(str(word) for pair in sittings for word in pair))
    assert code == 0, output
    *parts, rest = re.split(r"^== (-?\d+)$", output, flags=re.MULTILINE)
    assert not rest.strip(), output
    return [(int(status), said) for said, status in zip(parts[::2], parts[1::2], strict=True)]


def assert_same_run(a: Path, b: Path) -> None:
    first, second = (contents(Checkpoints(r / "checkpoints").at(STEPS).path) for r in (a, b))
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == second[name], name
    assert logged(a) == logged(b)
    assert load_bundle(a / "bundle").hash == load_bundle(b / "bundle").hash
    for out in (a, b):
        assert not list((out / "checkpoints").glob("tmp-*"))
        assert len(list((out / "checkpoints").glob("step-*"))) <= 2


@pytest.mark.slow
def test_one_process_killed_again_and_again(tmp_path):
    tiles = make_tiles(tmp_path / "tiles.zarr")
    whole, parts = prepare(tmp_path / "whole", tiles), prepare(tmp_path / "parts", tiles)
    # From outside early in the run, at a moment that nobody chose, however fast the machine is.
    harms = (f"outside:{random.randint(1, 4)}", "write:2", "rename:1", "kill:8", "prune:2")
    found = run_in_turn((whole, ""), *((parts, harm) for harm in harms), (parts, ""))
    for harm, (code, output) in zip(("", *harms, ""), found, strict=True):
        assert code == (-signal.SIGKILL if harm else 0), f"{harm}: {output}"
    assert "continuing from" in output
    assert_same_run(whole.parent / "run", parts.parent / "run")


@pytest.mark.slow
def test_two_processes_killed_and_stopped(tmp_path):
    tiles = make_tiles(tmp_path / "tiles.zarr")
    whole, parts = prepare(tmp_path / "whole", tiles), prepare(tmp_path / "parts", tiles)
    code, output = run(whole, processes=2)
    assert code == 0, output
    pools = Checkpoints(whole.parent / "run" / "checkpoints").at(STEPS).path.glob("pools-*")
    assert len(list(pools)) == 2

    # A signal to one process stops both, after a step that both have made.
    code, output = run(parts, "term:5@1", processes=2)
    assert code != 0, output  # it is not finished
    assert "stopped at step 5; run the same command to continue" in output
    for harm in ("kill:8@1", "write:3@0"):
        code, output = run(parts, harm, processes=2)
        assert code != 0, f"{harm}: {output}"
    code, output = run(parts, processes=2)
    assert code == 0, output
    assert_same_run(whole.parent / "run", parts.parent / "run")


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_stops_both(tmp_path):
    tiles = make_tiles(tmp_path / "tiles.zarr", bad_row=7)
    code, output = run(prepare(tmp_path / "run", tiles), processes=2)
    assert code != 0
    errors = [line for line in output.splitlines() if line.startswith("error:")]
    # The launcher ends the second one once the first has left, perhaps before it says the same.
    assert len(errors) in (1, 2), output
    assert len(set(errors)) == 1
    assert "train row 7" in errors[0]
