"""Imports point one way (docs/architecture.md), and some rooms do without heavy libraries."""

import ast
import importlib
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest

ROOT = Path(__file__).parents[1]

# Each room may import from the rooms of lower rank, and from itself.
RANK = {
    "errors": 0, "symmetries": 0, "stopping": 0, "heap": 0, "shipped": 0,
    "door": 1, "trial": 1, "files": 1, "plugins": 1, "remote": 1.2,
    "locks": 1.5, "places": 1.5, "team": 1, "losses": 1, "config": 1.5, "leases": 1.7,
    "listing": 2, "sky": 2, "side": 3, "nets": 3.7,
    "simulators": 3.5, "events": 3.5,
    "data": 4, "metrics": 4, "turbo": 5, "flows": 5, "diffusion": 5, "engines": 6, "report": 6,
    "posteriors": 5.5,
    "bundle": 7, "mosaic": 8, "training": 8, "tables": 8.5, "scoring": 9, "data_prep": 9,
    "describe": 9, "sampling": 9, "color": 10, "finetuning": 10,
    "demos": 11, "cli": 12, "__main__": 13,
}  # fmt: skip
WITHOUT = {  # room: libraries that no module of it may import
    "sky": {"torch"},
    "data_prep": {"torch"},
    "nets": {"astropy"},
    "simulators": {"torch", "astropy"},
    "events": {"torch", "astropy"},
    "data": {"astropy"},
    "turbo": {"astropy"},
    "flows": {"astropy"},
    "posteriors": {"astropy"},
    "diffusion": {"astropy"},
    "training": {"astropy"},
}


def test_test_modules_have_names_of_their_own():
    """Folders of tests are no packages: pytest imports their modules by bare names."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert [name for name, count in Counter(names).items() if count > 1] == []


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
        if there not in (None, room):
            assert RANK[there] < RANK[room], f"{module} imports {imported}"
        assert imported.split(".")[0] not in WITHOUT.get(room, set()), f"{module}: {imported}"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_within(path: Path, known: set[str]) -> set[str]:
    """Our own modules that a file imports, ``from room import module`` included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= inner or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    # The package's front door names everything, lazily: what goes through it is no arrow.
    return (found & known) - {module_of(path), "imgturbo"}


def test_there_are_no_circles():
    """Of modules, imports for typing alone included."""
    known = {module_of(path) for path in FILES}
    arrows = {module_of(path): modules_within(path, known) for path in FILES}
    list(TopologicalSorter(arrows).static_order())  # raises CycleError, which names the circle


# ------------------------------------------------------------------- who may ask what a network is

# Builders make networks of what a config says; everybody else asks what a network can do.
KNOW_KINDS = {
    "imgturbo/engines/table.py", "imgturbo/nets/build.py", "imgturbo/posteriors/summaries.py",
}  # fmt: skip


def network_names() -> set[str]:
    """Classes that are a kind of section, network or objective."""
    from imgturbo import config, nets

    rooms = {name for room in (config, nets) for name in room.__all__ if name[0].isupper()}
    return rooms | {
        "CINNDecoder", "CycleGANResNet", "Denoiser", "Denoising", "DiffusionDecoder",
        "ImageGenerator", "ColorizationCondition", "ConditionPyramid", "Likelihood",
        "MultiScaleCINN", "NAFNet", "Objective", "Pix2PixUNet",
        "AugmentedINN", "AugmentedTerms", "Bottleneck", "DenseFlow", "FlowMatching", "Matching",
        "MixtureDensity", "MixtureINN", "RowGenerator", "ZukoFlow",
    }  # fmt: skip


def network_kinds() -> set[str]:
    """What ``kind`` may be in a section of a network, a critic or a condition."""
    from imgturbo import config

    families = (
        config.NetworkConfig, config.CriticConfig, config.PyramidConditionConfig,
        config.ColorizationConditionConfig, config.DenseSummaryConfig, config.DeepSetConfig,
        config.SetTransformerConfig, config.SeriesConfig,
    )  # fmt: skip
    classes = [one for one in vars(config).values() if isinstance(one, type)]
    sections = [one for one in classes if issubclass(one, families)]
    return {kind for one in sections for kind in get_args(one.model_fields["kind"].annotation)}


def questions_of_kind(tree: ast.AST, names: set[str], kinds: set[str]) -> list[str]:
    """Where a piece of code asks which class of network something is, or which kind a section."""

    def named(node: ast.AST) -> bool:
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        used |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        return bool(used & names)

    def kind(node: ast.AST) -> bool:
        return "kind" in (getattr(node, "attr", None), getattr(node, "id", None))

    def constant(node: ast.AST) -> bool:
        return any(isinstance(n, ast.Constant) and n.value in kinds for n in ast.walk(node))

    found = []
    for node in ast.walk(tree):
        asks = False
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "isinstance",
            "issubclass",
        ):
            asks = named(node.args[1])
        elif isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            asks = any(map(kind, parts)) and any(map(constant, parts))
            types = [p for p in parts if isinstance(p, ast.Call) and ast.unparse(p.func) == "type"]
            asks |= bool(types) and any(named(p) for p in parts if p not in types)
        elif isinstance(node, ast.match_case):
            asks = any(
                (isinstance(p, ast.MatchClass) and named(p.cls))
                or (isinstance(p, ast.MatchValue) and constant(p.value))
                for p in ast.walk(node.pattern)
            )
        if asks:
            found.append(f"line {getattr(node, 'lineno', '?')}: {ast.unparse(node)[:80]}")
    return found


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        ("isinstance(network, CINNDecoder)", True),
        ("isinstance(network, nets.MLP | Tensor)", True),
        ("isinstance(config, (FlowConfig, str))", True),
        ("issubclass(section, NetworkConfig)", True),
        ("type(network) is UNet", True),
        ("config.model.decoder.kind == 'cinn'", True),
        ("'mlp' != kind", True),
        ("config.kind in ('vgg', 'convnext')", True),
        ("match section:\n case UNetConfig(): pass", True),
        ("match section.kind:\n case 'mlp' | 'unet': pass", True),
        ("isinstance(value, Tensor)", False),
        ("side.kind == 'table'", False),
        ("raw.dtype.kind in 'iu'", False),
        ("pictures.kind == 'pairs'", False),
    ],
)
def test_questions_of_kind_are_found(code, asks):
    assert bool(questions_of_kind(ast.parse(code), network_names(), network_kinds())) == asks


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_engines_and_builders_know_kinds(path):
    where = str(path.relative_to(ROOT))
    if where in KNOW_KINDS or where.startswith("imgturbo/config/"):
        return
    tree = ast.parse(path.read_text())
    assert questions_of_kind(tree, network_names(), network_kinds()) == []


def test_training_runs_where_there_is_no_astropy():
    code = (
        "import sys; sys.modules['astropy'] = None\n"
        "import imgturbo.training, imgturbo.turbo, imgturbo.nets, imgturbo.data, imgturbo.bundle"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tables_are_prepared_where_there_is_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import data_prep.tables, imgturbo.tables.writer, imgturbo.tables.text_file"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_itself_is_light():
    """Nor is torch loaded to say that nothing has a name."""
    code = (
        "import sys, imgturbo\n"
        "from imgturbo.cli.main import main\n"
        "try: main(['inspect', 'nowhere'])\n"
        "except SystemExit as end: sys.exit(end.code != 2 or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["imgturbo", "imgturbo.sky", "imgturbo.data", "imgturbo.tables"])
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


@pytest.mark.parametrize("name", ["imgturbo", "imgturbo.sky", "imgturbo.tables"])
def test_lazy_rooms_load_nothing_heavy_themselves(name):
    heavy = "{'torch', 'astropy', 'numpy', 'pydantic'}"
    code = f"import sys, {name}; dir({name}); sys.exit(len({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
