"""The whole of the command line: its list, its speed, and how mistakes are printed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

import pytest

import imgturbo

COMMANDS = (
    "simulate", "simulate-events", "prepare", "inspect", "train", "finetune", "translate", "sample",
    "evaluate", "evaluate-events", "calibrate", "report", "truth", "posterior", "export", "push",
    "colorize", "latent", "config", "presets", "demo", "demo-arm", "demo-colorize", "demo-events",
)  # fmt: skip


def test_without_words_the_commands_are_listed(run):
    status, out, err = run()
    assert (status, err) == (0, "")
    assert all(command in out for command in COMMANDS)


def test_the_list_is_that_of_the_groups():
    declared = []
    groups = (
        "data training finetune translate sample scoring trust bundles color config presets demos"
    )
    for name in groups.split():
        commands = import_module(f"imgturbo.cli.{name}").commands
        declared += [c.name or c.callback.__name__ for c in commands.registered_commands]
        declared += [group.name for group in commands.registered_groups]
    assert sorted(declared) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert f"imgturbo {command}" in out


def test_version(run):
    assert run("--version") == (0, f"imgturbo {imgturbo.__version__}\n", "")


def test_help_loads_nothing_heavy():
    """`imgturbo --help` must answer at once, wherever torch and astropy lie."""
    code = """
import sys
from imgturbo.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
print(sorted({"torch", "astropy", "zarr", "matplotlib", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_is_the_same_command(run, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "imgturbo", "inspect", str(tmp_path / "none")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == run("inspect", tmp_path / "none")


def test_the_shell_completes_commands():
    asked = {"_IMGTURBO_COMPLETE": "complete_bash", "COMP_WORDS": "imgturbo cal", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "imgturbo"], env=os.environ | asked, capture_output=True, text=True
    )
    assert done.stdout.split() == ["calibrate"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tranlate"], ["'tranlate'", "'translate'", "imgturbo --help"]),
        (["translate"], ["'--bundle'", "imgturbo translate --help"]),
        (["translate", "--bundel", "b"], ["--bundel", "--bundle"]),
        (["translate", "--bundle", "b", "--direction", "up"], ["'up'", "forward", "backward"]),
        (["simulate", "--out", "x", "--size", "3"], ["--size", "64"]),
        (["simulate", "--out", "x", "--size", "many"], ["--size", "integer"]),
        (["train"], ["CONFIG", "imgturbo train --help"]),
        (["evaluate", "a.fits"], ["TARGET"]),
        (["prepare"], ["config", "--source", "--target"]),
        (["translate", "--bundle", "b", "--quantiles", "a"], ["--quantiles a", "not numbers"]),
        (["calibrate", "t", "--bundle", "b", "--levels", "0.5,"], ["--levels 0.5,", "0.5,0.9"]),
        (["translate", "--bundle", "b", "--ensemble", "d5"], ["'d5'", "'flips'"]),
        (["config", "--markdown"], ["--schema"]),
        (["config", "c.yaml", "--schema"], ["leave out the file"]),
        (["config", "c.yaml"], ["c.yaml", "no such config"]),
        (["config", "train.stepz=3"], ["train.stepz", "'steps'"]),
        (["prepare", "c.yaml", "--source", "a.fits"], ["c.yaml", "--source"]),
        (["translate", "--bundle", "b", "a.fits"], ["--out"]),
        (["translate", "--bundle", "b", "--manifest", "m.csv"], ["--out-dir"]),
        (["translate", "--bundle", "b", "a.fits", "--manifest", "m", "--out-dir", "d"], ["--out"]),
    ],
    ids=" ".join,
)
def test_mistakes_in_the_words_are_one_line(run, words, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in told), err
    assert not list(tmp_path.iterdir())


def test_what_nobody_foresaw_is_one_line_too(run, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "thing"))

    monkeypatch.setattr("imgturbo.describe.describe", full)
    status, _, err = run("inspect", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {tmp_path / 'thing'}: No space left")


def test_interrupted_is_not_a_traceback(run, monkeypatch, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("imgturbo.describe.describe", stop)
    assert run("inspect", tmp_path)[0] == 130


def test_public_names_are_what_they_say():
    """Lazily loaded, and the same at every use: a module of that name must not hide a function."""
    for _ in range(2):
        for name in imgturbo.__all__:
            assert callable(getattr(imgturbo, name)), name


@pytest.mark.parametrize(("processes", "interpreter"), [("1", ["ended"]), ("2", [])])
def test_one_of_several_processes_does_not_wait_for_the_interpreters_end(processes, interpreter):
    code = """
import atexit
from imgturbo.cli.output import leave

class Late:
    def __del__(self): print("ended")

late = Late()
atexit.register(print, "let go")
print("done")
leave(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "WORLD_SIZE": processes},
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.split("\n")[:-1] == ["done", "let go", *interpreter]
