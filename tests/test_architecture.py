"""Imports point one way (docs/architecture.md), and some rooms do without heavy libraries."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room may import from the rooms of lower rank, and from itself.
RANK = {
    "errors": 0, "symmetries": 0,
    "files": 1, "team": 1, "losses": 1, "config": 1, "sky": 2, "side": 3, "nets": 3,
    "simulators": 3.5,
    "data": 4, "metrics": 4, "turbo": 5, "flows": 5, "diffusion": 5, "engines": 6, "report": 6,
    "bundle": 7, "mosaic": 8, "training": 8, "scoring": 9, "data_prep": 9, "describe": 9,
    "color": 10, "demos": 11, "cli": 12, "__main__": 13,
}  # fmt: skip
CALLS_UP = {("bundle", "mosaic")}  # Bundle.translate is the mosaic room's, on first use
WITHOUT = {  # room: libraries that no module of it may import
    "sky": {"torch"},
    "data_prep": {"torch"},
    "nets": {"astropy"},
    "simulators": {"torch", "astropy"},
    "data": {"astropy"},
    "turbo": {"astropy"},
    "flows": {"astropy"},
    "diffusion": {"astropy"},
    "training": {"astropy"},
}


def room_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "data_prep":
        return "data_prep"
    return parts[1] if parts[0] == "imgturbo" and len(parts) > 1 else None


def imports(path: Path) -> list[str]:
    """Modules that a file imports when it is loaded or called, but not those for typing alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


FILES = [p for top in ("imgturbo", "data_prep") for p in sorted((ROOT / top).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    room = room_of(module)
    if room is None or room == "__init__":  # the package's front door names everything, lazily
        return
    for imported in imports(path):
        there = room_of(imported)
        if there not in (None, room) and (room, there) not in CALLS_UP:
            assert RANK[there] < RANK[room], f"{module} imports {imported}"
        assert imported.split(".")[0] not in WITHOUT.get(room, set()), f"{module}: {imported}"


def test_training_runs_where_there_is_no_astropy():
    code = (
        "import sys; sys.modules['astropy'] = None\n"
        "import imgturbo.training, imgturbo.turbo, imgturbo.nets, imgturbo.data, imgturbo.bundle"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_itself_is_light():
    code = "import sys, imgturbo, imgturbo.cli.main; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["imgturbo", "imgturbo.sky", "imgturbo.data"])
def test_names_that_load_on_first_use_are_listed_before(name):
    """Tab completion asks ``dir``; each name is there, is the thing itself, and stays it."""
    room = importlib.import_module(name)
    assert set(room.__all__) <= set(dir(room))
    for public in room.__all__:
        thing = getattr(room, public)
        assert thing.__name__ == public
        assert getattr(room, public) is thing
    with pytest.raises(AttributeError, match="nothing"):
        _ = room.nothing


@pytest.mark.parametrize("name", ["imgturbo", "imgturbo.sky"])
def test_lazy_rooms_load_nothing_heavy_themselves(name):
    heavy = "{'torch', 'astropy', 'numpy', 'pydantic'}"
    code = f"import sys, {name}; dir({name}); sys.exit(len({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
