"""Law 6: files and folders that are whole or not there, and nobody who writes in another way."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from imgturbo import files
from imgturbo.errors import ImgturboError
from imgturbo.files import (
    naming,
    put_in_place,
    remove,
    sha256,
    whole,
    write_durably,
    write_folder,
    write_json,
    write_whole,
)

ROOT = Path(__file__).parents[1]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a" / "b" / "s.json"
    content = {"prediction": {"psnr": 1.5, "lpips": None}, "bands": ["F150W"]}
    write_json(path, content)
    assert json.loads(path.read_text()) == content
    assert [file.name for file in path.parent.iterdir()] == ["s.json"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_without_a_word_in_json_are_refused(tmp_path, number):
    path = tmp_path / "s.json"
    path.write_text("former")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"psnr": number})
    assert path.read_text() == "former"


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "s.json"
    path.write_text("former")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ImgturboError, match=r"s\.json.*No space left"):
        write_json(path, {})
    assert path.read_text() == "former"
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]


# ------------------------------------------------------------------- a failure at every step


class Disk:
    """Counts the steps of a writer, names them, and fails at one of them."""

    def __init__(self, monkeypatch, fails_at: int, error: Exception) -> None:
        self.steps: list[str] = []
        self.fails_at, self.error = fails_at, error
        fsync, replace, opened = os.fsync, os.replace, Path.open

        def synced(handle: int) -> None:
            self.step("fsync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "fsync file")
            fsync(handle)

        def replaced(old: Path, new: Path) -> None:
            self.step(f"rename {Path(new).name}")
            replace(old, new)

        def open_(path: Path, mode: str = "r", *words, **more):
            file = opened(path, mode, *words, **more)
            if "w" in mode:
                file.write(b"half")  # of what a failing write leaves
                file.flush()
                try:
                    self.step("write")
                except BaseException:
                    file.close()
                    raise
                file.seek(0)
                file.truncate()
            return file

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", replaced)
        monkeypatch.setattr(Path, "open", open_)

    def step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) == self.fails_at:
            raise self.error


def a_file(path: Path, content: bytes) -> None:
    write_whole(path, content)


def a_folder(path: Path, content: bytes) -> None:
    write_folder(path, {"one": content, "two": content})


def what_is_at(path: Path) -> bytes | None:
    """The content that :func:`a_file` or :func:`a_folder` has left, whole."""
    if not path.is_dir():
        return path.read_bytes() if path.exists() else None
    one, two = sorted(file.name for file in path.iterdir())
    assert (one, two) == ("one", "two")
    assert (path / "one").read_bytes() == (path / "two").read_bytes()
    return (path / "one").read_bytes()


FILE = ["write", "fsync file", "fsync file", "rename x", "fsync folder"]
FOLDER = ["write", "fsync file"] * 2 + ["fsync file"] * 2 + ["fsync folder", "rename x"]


@pytest.mark.parametrize(
    ("write", "former", "steps"),
    [
        (a_file, False, FILE),
        (a_file, True, FILE),
        (a_folder, False, [*FOLDER, "fsync folder"]),
        (a_folder, True, [*FOLDER[:-1], "rename .x.old", "rename x", "fsync folder"]),
    ],
)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_whatever_step_fails_the_name_is_whole(
    tmp_path, monkeypatch, write: Callable, former: bool, steps: list[str], error: Exception
):
    for fails_at in range(1, len(steps) + 2):
        folder = tmp_path / f"fails-at-{fails_at}"
        path = folder / "x"
        folder.mkdir()
        if former:
            write(path, b"former")
        with monkeypatch.context() as patch:
            disk = Disk(patch, fails_at, error)
            if fails_at > len(steps):  # nothing fails: all steps were made, in this order
                write(path, b"new")
                assert disk.steps == steps
            elif isinstance(error, OSError):
                with pytest.raises(ImgturboError, match=r"/x: .*the disk is full"):
                    write(path, b"new")
            else:
                with pytest.raises(KeyboardInterrupt):
                    write(path, b"new")
        renamed = fails_at > steps.index("rename x") + 1
        assert what_is_at(path) == (b"new" if renamed else b"former" if former else None)
        aside = {file.name for file in folder.iterdir()} - {"x"}
        assert aside <= ({".x.old"} if renamed else set())
        write(path, b"newer")
        assert what_is_at(path) == b"newer"
        assert [file.name for file in folder.iterdir()] == ["x"]


def test_file_and_folder_are_brought_to_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        events.append(os.fstat(handle).st_ino)
        fsync(handle)

    def replaced(old: Path, new: Path) -> None:
        events.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_whole(tmp_path / "x", b"content")
    file, folder = (tmp_path / "x").stat().st_ino, tmp_path.stat().st_ino
    assert events == [file, file, "rename", folder]


def test_a_folder_that_cannot_be_synchronised_is_no_failure(tmp_path, monkeypatch):
    fsync = os.fsync

    def refused(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refused)
    write_whole(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"


def test_what_a_kill_left_aside_is_no_obstacle(tmp_path):
    for left in (".x.part", ".x.old", ".x.old/deep"):
        (tmp_path / left).mkdir()
    write_folder(tmp_path / "x", {"one": b"1"})
    write_folder(tmp_path / "x", {"two": b"2"})
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert [file.name for file in (tmp_path / "x").iterdir()] == ["two"]


def test_an_older_folder_that_a_kill_left_aside_comes_back_if_the_new_one_fails(
    tmp_path, monkeypatch
):
    write_folder(tmp_path / "x", {"one": b"former", "two": b"former"})
    (tmp_path / "x").rename(tmp_path / ".x.old")
    with monkeypatch.context() as patch:
        Disk(patch, len(FOLDER), OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(ImgturboError, match="disk is full"):
            a_folder(tmp_path / "x", b"new")
    assert what_is_at(tmp_path / "x") == b"former"


def test_a_folder_takes_no_files_place(tmp_path):
    (tmp_path / "x").write_text("precious")
    with pytest.raises(ImgturboError, match="x: cannot be written"):
        write_folder(tmp_path / "x", {"one": b"1"})
    assert (tmp_path / "x").read_text() == "precious"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("to", ["a folder", "nothing"])
def test_a_folder_takes_a_links_place_and_what_it_pointed_to_stays(tmp_path, to):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    if to == "a folder":
        write_folder(elsewhere, {"theirs": b"kept"})
    link.symlink_to(elsewhere, target_is_directory=True)
    write_folder(link, {"new": b"1"})
    assert not link.is_symlink()
    assert [file.name for file in link.iterdir()] == ["new"]
    if to == "a folder":
        assert [(file.name, file.read_bytes()) for file in elsewhere.iterdir()] == [
            ("theirs", b"kept")
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"link", *(["elsewhere"] if to == "a folder" else [])}
    )


def test_any_library_may_write_aside(tmp_path):
    with whole(tmp_path / "deep" / "x") as aside:
        aside.write_text("whole")
        assert not (tmp_path / "deep" / "x").exists()
    assert (tmp_path / "deep" / "x").read_text() == "whole"
    with pytest.raises(KeyError), whole(tmp_path / "deep" / "x") as aside:  # noqa: PT012
        aside.write_text("half")
        raise KeyError
    assert (tmp_path / "deep" / "x").read_text() == "whole"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["x"]


def test_a_longer_writer_ends_in_the_same_way(tmp_path):
    aside = tmp_path / "tmp-x"
    aside.mkdir()
    write_durably(aside / "one", b"1")
    put_in_place(aside, tmp_path / "x")
    assert (tmp_path / "x" / "one").read_bytes() == b"1"
    remove(tmp_path / "x")
    remove(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------- names and hashes


def test_an_error_is_one_line_with_the_path_the_reason_and_the_remedy():
    with (
        pytest.raises(ImgturboError) as caught,
        naming("run/x", "choose another 'train.out'", "the run's folder cannot be written"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", "run/x/deep")
    assert str(caught.value) == (
        "run/x: the run's folder cannot be written (Permission denied); choose another 'train.out'"
    )
    with pytest.raises(ImgturboError, match="first"), naming("x"):
        raise ImgturboError("first")
    with pytest.raises(KeyError), naming("x"):
        raise KeyError


def test_a_file_has_the_hash_of_its_bytes(tmp_path):
    for content in (b"", b"imgturbo", bytes(1 << 21)):
        (tmp_path / "x").write_bytes(content)
        assert sha256(tmp_path / "x") == sha256(content) == hashlib.sha256(content).hexdigest()


# ---------------------------------------------------------------------- nobody writes otherwise

ALLOWED = {  # module: what it may do by itself, and why
    "imgturbo/leases.py": {"os.open": "whoever creates it has it; what it holds is for messages"},
    "imgturbo/locks.py": {"os.open": "a lock is held on an open file, and says nothing that lasts"},
    "imgturbo/remote/address.py": {"open": "a temporary copy, which is read and forgotten"},
    "imgturbo/mosaic/cutout_files.py": {
        "open": "cut-outs are appended to what `whole` gives",
        "writeto": "a table, into memory",
    },
    "imgturbo/sky/write.py": {"os.open": "the part file that windows are put into for hours"},
    "imgturbo/trial.py": {"hashlib": "runs alone, without this package"},
    "imgturbo/training/trackers.py": {"open": "lines are appended; a cut one is dropped on resume"},
    "imgturbo/training/checkpoint.py": {
        "rename": "a name is taken away, so that none is half gone"
    },
    "imgturbo/tables/writer.py": {
        "open": "at a place that whole() gave",
        "writeto": "into memory",
    },
    "data_prep/staging.py": {"np.save": "into a folder that whole() gave"},
    "data_prep/events/generate.py": {"np.save": "into memory"},
    "data_prep/simulate/observe.py": {"writeto": "at a place that whole() gave"},
}


def own_ways(path: Path) -> set[str]:
    """Calls by which a module writes, renames, synchronises or hashes without imgturbo.files."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None)]
            found |= {"hashlib"} & set(names)
        elif isinstance(node, ast.Call):
            found |= {way for way, is_it in WAYS.items() if is_it(ast.unparse(node.func), node)}
    return found


def opens_to_write(name: str, call: ast.Call) -> bool:
    words = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    modes = [w.value for w in words if isinstance(w, ast.Constant) and isinstance(w.value, str)]
    to_write = any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)
    return (name == "open" or name.endswith(".open")) and to_write


def to_memory(call: ast.Call) -> bool:
    return bool(call.args) and ast.unparse(call.args[0]) in ("buffer", "content")


WAYS: dict[str, Callable[[str, ast.Call], bool]] = {
    "open": opens_to_write,
    "write_text": lambda name, _: name.endswith((".write_text", ".write_bytes")),
    "os.open": lambda name, call: name == "os.open" and "O_RDONLY" not in ast.unparse(call),
    "rename": lambda name, call: (
        name.endswith(".rename")
        or name in ("os.replace", "shutil.move")
        or (name.endswith(".replace") and len(call.args) == 1 and not call.keywords)
    ),
    "copy": lambda name, _: name.startswith("shutil.copy") and name != "shutil.copyfileobj",
    "fsync": lambda name, _: name in ("os.fsync", "os.fdatasync", "os.sync"),
    "np.save": lambda name, _: name.startswith("np.save") or name in ("torch.save", "save_file"),
    "writeto": lambda name, _: name.endswith(".writeto"),
    "save": lambda name, call: (
        name.endswith((".save", ".savefig", ".imwrite", ".tofile"))
        and not name.startswith(("np.", "torch."))
        and name != "state.save"
        and not to_memory(call)
    ),
}

MODULES = [p for top in ("imgturbo", "data_prep") for p in sorted((ROOT / top).rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_writer_goes_through_files(path):
    if path != Path(files.__file__):
        assert own_ways(path) == set(ALLOWED.get(str(path.relative_to(ROOT)), {}))


@pytest.mark.parametrize(
    ("code", "way"),
    [
        ("open(p, 'wb')", "open"), ("p.open(mode='a')", "open"), ("p.open('r+b')", "open"),
        ("p.write_text('')", "write_text"), ("(a / b).write_bytes(c)", "write_text"),
        ("os.open(p, os.O_RDWR)", "os.open"), ("a.rename(b)", "rename"), ("a.replace(b)", "rename"),
        ("os.replace(a, b)", "rename"), ("shutil.copy(a, b)", "copy"), ("os.fsync(f)", "fsync"),
        ("import hashlib", "hashlib"), ("from hashlib import sha256", "hashlib"),
        ("np.savez(p, a)", "np.save"), ("hdus.writeto(p)", "writeto"), ("image.save(p)", "save"),
        ("figure.savefig(out)", "save"), ("tifffile.imwrite(p, a)", "save"),
    ],
)  # fmt: skip
def test_the_law_sees_them(tmp_path, code, way):
    (tmp_path / "module.py").write_text(code)
    assert own_ways(tmp_path / "module.py") == {way}
    harmless = "p.open(); open(p, 'rb'); s.replace('a', 'b'); dataclasses.replace(a, b=1)"
    (tmp_path / "module.py").write_text(f"{harmless}; os.open(p, os.O_RDONLY); image.save(buffer)")
    assert own_ways(tmp_path / "module.py") == set()


@pytest.mark.parametrize(
    "said",
    ["131072 requested and 6112 written", "Not enough space on disk: requested 8, available 0."],
)
def test_a_full_disk_is_called_so_whoever_says_it(said):
    full = r"^x: cannot .* left on device, the disk is full\);"
    with pytest.raises(ImgturboError, match=full), naming("x"):
        raise OSError(said)
