"""Tests run in a copy of the tree, with one mistake in it: which of them notice?"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import _lru_cache_wrapper
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks.mutants.changes import ROOT, Mutant

__all__ = ["Bench"]

OURS = {"imgturbo", "data_prep", "benchmarks"}  # packages


class Tracer:
    """Which tests enter which function of ours, and how long each takes (a plugin of pytest).

    What a fixture enters counts for every test that asks for it: of a module's fixture only the
    first test pays, and the others look at what it made as well.
    """

    def __init__(self, tree: Path) -> None:
        self.prefix = str(tree) + os.sep
        self.now: list[str] = [""]  # a test, and within it the fixtures that are being made
        self.entered: dict[str, set[str]] = {}
        self.users: dict[str, set[str]] = {}
        self.seconds: Counter[str] = Counter()

    def enter(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if code.co_filename.startswith(self.prefix):
            where = f"{code.co_filename.removeprefix(self.prefix)}:{code.co_firstlineno}"
            self.entered.setdefault(where, set()).add(self.now[-1])

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            for name in item.fixturenames:
                self.users.setdefault(f"fixture {name}", set()).add(item.nodeid)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.now = [nodeid]
        for name, module in list(sys.modules.items()):  # what is cached is entered once
            for one in list(vars(module).values()) if name.split(".")[0] in OURS else ():
                if isinstance(one, _lru_cache_wrapper):
                    one.cache_clear()
        threading.settrace(self.enter)
        sys.settrace(self.enter)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        self.now.append(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.now.pop()

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration

    def found(self) -> dict[str, Any]:
        tests = {
            where: sorted(set().union(*(self.users.get(name, {name}) for name in names)))
            for where, names in self.entered.items()
        }
        return {"entered": tests, "seconds": self.seconds}


class Chosen:
    """Only these tests, in this order (a plugin of pytest); hypothesis does not shrink."""

    def __init__(self, tests: list[str]) -> None:
        self.rank = {test: i for i, test in enumerate(tests)}

    def pytest_collection(self) -> None:
        from hypothesis import Phase, settings

        quick = settings(settings.default, phases=[Phase.explicit, Phase.generate])
        settings.register_profile("mutants", quick, print_blob=False)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid in self.rank]
        items.sort(key=lambda item: self.rank[item.nodeid])


class Bench:
    """A copy of the tree, and a process for each run of tests in it."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.log = folder / "tree", folder / "log.txt"
        skipped = shutil.ignore_patterns(".*", "__pycache__", "runs", "*.zarr", "dist", "build")
        shutil.copytree(ROOT, self.tree, ignore=skipped)
        self.clock = time.time() + 10  # a file's cached bytecode goes by its second
        self.libraries: set[str] = set()

    def run(self, paths: list[str], plugin: Tracer | Chosen, limit: float) -> int | None:
        """pytest's exit status, in a fork; None when time ran out."""
        child = os.fork()
        if child == 0:
            os.setsid()
            with self.log.open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            status = 3
            with suppress(BaseException):
                status = self._test(paths, plugin)
            os._exit(status)
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None

    def _test(self, paths: list[str], plugin: Tracer | Chosen) -> int:
        os.chdir(self.tree)
        sys.path.insert(0, str(self.tree))
        os.environ["PYTHONPATH"] = str(self.tree)
        traced = isinstance(plugin, Tracer)
        sys.dont_write_bytecode = not traced
        words = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        words += [] if traced else ["-x"]
        status = int(pytest.main([*words, *paths], plugins=[plugin]))
        if isinstance(plugin, Tracer):
            sys.settrace(None)
            ours = OURS | {"conftest"} | {path.stem for path in self.tree.rglob("tests/**/*.py")}
            modules = [name for name in sys.modules if name.split(".")[0] not in ours]
            found = {**plugin.found(), "modules": modules}
            (self.tree / "map.json").write_text(json.dumps(found))
        return status

    def map(self, paths: list[str]) -> dict[str, Any]:
        """What a room's tests enter; they must pass as they are."""
        if self.run(paths, Tracer(self.tree), limit=3600) != 0:
            sys.exit(
                f"the tests of {paths} fail without any mutant:\n{self.log.read_text()[-3000:]}"
            )
        found = json.loads((self.tree / "map.json").read_text())
        for name in found["modules"]:  # so that every fork has them already
            if name not in sys.modules and name != "__main__":
                with suppress(BaseException):
                    importlib.import_module(name)
        own = (
            "benchmarks",
            *(name for name in sys.modules if name.startswith("benchmarks.mutants")),
        )
        ours = sorted({n for n in sys.modules if n.split(".")[0] in OURS} - set(own))
        if ours:
            sys.exit(f"{', '.join(ours[:5])} came in with a library and would hide every mutant")
        return found

    def survives(self, mutant: Mutant, room: dict[str, Any]) -> bool:
        """True if no test of its room fails with a mutant in place."""
        seconds = room["seconds"]
        direct = set(room["entered"].get(f"{mutant.path}:{mutant.function}", []))
        imported = not direct  # a constant, or a function that only makes one
        if imported:  # whatever enters the file
            entered = room["entered"].items()
            direct = {t for where, ts in entered if where.startswith(mutant.path + ":") for t in ts}
        tests = sorted(direct & set(seconds), key=seconds.get)
        if imported:  # it may be read from without: the rest of their files
            files = {test.split("::")[0] for test in tests or seconds}
            beside = {test for test in seconds if test.split("::")[0] in files} - direct
            tests += sorted(beside, key=seconds.get)
        if not tests:
            return True
        files = {test.split("::")[0] for test in tests}
        target = self.tree / mutant.path
        original, times = target.read_text(), target.stat()
        try:
            target.write_text(mutant.module)
            self.clock += 2
            os.utime(target, (self.clock, self.clock))
            limit = 60 + 3 * sum(seconds[test] for test in tests)
            return self.run(sorted(files), Chosen(tests), limit) == 0
        finally:
            target.write_text(original)
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
