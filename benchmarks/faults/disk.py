"""Every command that writes, on a disk that fills up at any byte.

    python -m benchmarks.faults.disk --count 300 --seed 0

In a mount namespace of its own a small disk (tmpfs) is as large as part of what the command needs.
It ends in a line that names what it was writing; what has a final name is whole; an older output is
as it was or replaced whole; nothing is left aside but what a second run goes on with.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.faults.campaign import Limits, Trial, main
from benchmarks.faults.outputs import OUTPUTS, Inputs, damaged, run_here
from imgturbo.errors import ImgturboError

_INSIDE = "IMGTURBO_FAULTS_NAMESPACE"
_GROWS = (".part", ".json", ".work", ".zarr.work")  # what a second run goes on with
_AMPLE = 400_000  # kB


class State:
    """The inputs, the disk, and how much of it each command's output takes."""

    def __init__(self, folder: Path) -> None:
        self.given = Inputs(folder / "inputs")
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.needs: dict[str, int] = {}

    def mount(self, size: int) -> None:
        """A new, empty disk of so many kB."""
        subprocess.run(["umount", self.disk], capture_output=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", self.disk]
        subprocess.run(words, check=True)

    def resize(self, size: int) -> None:
        words = ["mount", "-o", f"remount,size={size}k", self.disk]
        subprocess.run(words, check=True)

    def used(self) -> int:
        """kB of pages that are taken."""
        return (shutil.disk_usage(self.disk).used + 1023) // 1024


def build(folder: Path) -> State:
    torch.set_num_threads(1)
    return State(folder)


def attempt(state: State, rng: random.Random, _: Path) -> Trial:
    name = rng.choice(sorted(OUTPUTS))
    output, older = OUTPUTS[name], rng.random() < 0.4
    out, share = state.disk / output.name, rng.uniform(0.02, 1.5)
    words = output.words(state.given, out)
    state.mount(_AMPLE)
    if older or name not in state.needs:
        run_here(words)
        state.needs[name] = max(8, state.used())
    before = _files(state.disk) if older else {}
    if older:
        state.resize(state.used() + max(4, int(share * state.needs[name])))
        words += output.replace
    else:
        state.mount(max(8, int(share * state.needs[name])))

    def call() -> int:
        if run_here(words) == 1:  # an archive of which fields have failed
            raise ImgturboError("some fields have failed")
        return 0

    def done(_: int) -> str | None:
        left = [p.name for p in state.disk.rglob(".*")]
        return f"left aside: {left}" if left else damaged(out)

    def refused(error: ImgturboError) -> str | None:
        said = str(error)
        if name != "manifest" and ("disk is full" not in said or str(state.disk) not in said):
            return f"not in a person's words: {said}"
        gone = [path.name for path in before if not path.exists()]
        if gone and name != "train":  # a training lets go of older checkpoints
            return f"the older output is gone: {gone}"
        left = [p.name for p in state.disk.rglob(".*") if not p.name.endswith(_GROWS)]
        return f"left aside: {left}" if left else damaged(out)

    recipe = [f"{name}, {'over an older one, ' if older else ''}{share:.2f} of what it needs"]
    return Trial(recipe, call, done, refused)


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        inside = ["unshare", "--map-root-user", "--mount", sys.executable, "-m", __spec__.name]
        os.execvp("unshare", [*inside, *sys.argv[1:]])
    main(__spec__.name, __doc__, 300, Limits(seconds=60, space=0))
