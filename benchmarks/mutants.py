"""Which small mistakes in the arithmetic would the tests let through?

    python benchmarks/mutants.py --count 100 --seed 1 [--only imgturbo/flows ...] [--all]

Draws changes by seed, one operator, comparison, number or truth each, over the rooms whose
arithmetic decides a result (`ROOMS`), in proportion to how much of it they hold. For each, that
room's own tests run in a copy of the tree. What survives is printed with file, line, and the
statement before and after; the exit status is 1 if anything did that `mutants_equivalent.txt` does
not know.

Libraries are imported once and every mutant is a fork: some two seconds each, where a tool that
starts a process a mutant (cosmic-ray) spends ten on `import torch`, and one that wraps functions
(mutmut) cannot change defaults, decorated functions and constants of a module. A first, traced
pass of a room's tests says which of them enter which function; a mutant is shown those that enter
its own, fastest first. Needs fork: Linux or macOS.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import _lru_cache_wrapper, cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
_SKY = ("stretch", "photometry", "units", "resampling", "grids")
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
    (("imgturbo/nets/noise.py",), ("tests/nets/test_noise.py",)),
]
OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.Sub),
    ast.FloorDiv: (ast.Mult, ast.Add),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult, ast.Add),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
OURS = {"imgturbo", "data_prep", "benchmarks"}  # packages
NAMES = {"min": "max", "minimum": "maximum", "amin": "amax", "sin": "cos", "floor": "ceil"}
NAMES |= {"any": "all", "zeros": "ones", "nanmin": "nanmax", "zeros_like": "ones_like"}
NAMES |= {after: before for before, after in NAMES.items()}
TYPES = (ast.arg, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef)


# ------------------------------------------------------------------------------ what may be changed


def without_types(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.stmt | None, str]]:
    """Every node that computes, with its statement and the line of its function ("" outside)."""

    def walk(
        node: ast.AST, statement: ast.stmt | None, function: str
    ) -> Iterator[tuple[ast.AST, ast.stmt | None, str]]:
        if isinstance(node, ast.stmt):
            statement = node
        yield node, statement, function
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns") and isinstance(node, TYPES):
                continue
            if isinstance(node, ast.keyword) and node.arg == "stacklevel":
                continue  # of a warning: no result
            inside = function
            if (
                isinstance(node, ast.FunctionDef) and name == "body"
            ):  # its first line: co_firstlineno
                inside = str(min([node.lineno, *(d.lineno for d in node.decorator_list)]))
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child, statement, inside)

    yield from walk(tree, None, "")


def changes(node: ast.AST) -> list[ast.AST]:
    """What one node may become."""
    found: list[ast.AST] = []

    def another(**fields: Any) -> None:
        one = copy.copy(node)
        for name, value in fields.items():
            setattr(one, name, value)
        found.append(one)

    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        for operator in OPERATORS.get(type(node.op), ()):
            another(op=operator())
    elif isinstance(node, ast.Compare):
        for i, old in enumerate(node.ops):
            for new in OPERATORS[type(old)]:
                another(ops=[*node.ops[:i], new(), *node.ops[i + 1 :]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        found.append(node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        another(value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        another(value=node.value + 1)
        another(value=node.value - 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        another(value=node.value + 1)
        if node.value:
            another(value=node.value * 1.5)
    elif isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in NAMES:
            function = copy.copy(node.func)
            setattr(function, "id" if isinstance(function, ast.Name) else "attr", NAMES[name])
            another(func=function)
    return found


class Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


@dataclass(frozen=True)
class Mutant:
    path: str
    line: int
    function: str  # where it begins, as :func:`without_types` says
    before: str
    after: str
    module: str  # the whole text of the file

    @property
    def key(self) -> str:
        return " | ".join([self.path, *self.shown()])

    def shown(self) -> tuple[str, str]:
        """Before and after; of long statements what is about the change."""
        pair = (self.before, self.after)
        unlike = (i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b)
        same = next(unlike, min(map(len, pair)))
        end = max(map(len, pair)) if max(map(len, pair)) < 160 else same + 40
        start = 0 if end > same + 40 else max(0, same - 60)
        return pair[0][start:end], pair[1][start:end]


def head(statement: ast.stmt) -> str:
    """The text of a statement without those that it holds."""
    short = copy.copy(statement)
    for name in ("body", "orelse", "finalbody", "handlers"):
        if isinstance(getattr(short, name, None), list):
            setattr(short, name, [ast.Pass()] if name == "body" else [])
    return " ".join(ast.unparse(ast.fix_missing_locations(short)).removesuffix("pass").split())


@cache
def text_of(path: str) -> str:
    """A file as it was at the beginning, whatever is done to the tree in the meantime."""
    return (ROOT / path).read_text()


def places(path: str) -> list[tuple[str, int, int]]:
    """Every change of a file: its path, which node, which of the node's changes."""
    nodes = without_types(ast.parse(text_of(path)))
    return [(path, i, j) for i, (node, _, _) in enumerate(nodes) for j in range(len(changes(node)))]


def mutant(path: str, place: int, number: int) -> Mutant:
    """The file with one change."""
    tree = ast.parse(text_of(path))
    node, statement, function = list(without_types(tree))[place]
    assert statement is not None  # a module itself has no changes
    before = head(statement)
    new = ast.copy_location(changes(node)[number], node)
    changed = Replace(node, new).visit(tree)
    after = list(without_types(changed))[place][1] or statement
    line = getattr(node, "lineno", statement.lineno)
    text = ast.unparse(ast.fix_missing_locations(changed))
    return Mutant(path, line, function, before, head(after), text)


# ----------------------------------------------------------------------------------- running tests


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
        if ours := sorted(name for name in sys.modules if name.split(".")[0] in OURS):
            sys.exit(f"{', '.join(ours[:5])} came in with a library and would hide every mutant")
        return found

    def survives(self, mutant: Mutant, room: dict[str, Any]) -> bool:
        """True if no test of its room fails with a mutant in place."""
        seconds = room["seconds"]
        if mutant.function:
            direct = set(room["entered"].get(f"{mutant.path}:{mutant.function}", []))
        else:  # at import: whatever enters the file
            entered = room["entered"].items()
            direct = {t for where, ts in entered if where.startswith(mutant.path + ":") for t in ts}
        tests = sorted(direct & set(seconds), key=seconds.get)
        if not mutant.function:  # a constant may be read from without: the rest of their files
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


# ------------------------------------------------------------------------------------------ drawing


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
