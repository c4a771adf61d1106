"""A damaged tile store is refused by the array that suffered; one of 0.1.0 by what is known."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from imgturbo.data import Tiles, TileSpec, TileStore
from imgturbo.data import store as module
from imgturbo.data.stored import list_files
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

OLD = Path(__file__).parents[1] / "training" / "version-0.1.0" / "tiles"
SIDE = Side(("A", "B"), "nJy", Stretch.linear(2), pixel_scale=0.04)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Several chunks a shard, several shards an array; zeros too."""
    path = tmp_path_factory.mktemp("whole") / "t.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK_BYTES", 4096)
        patch.setattr(module, "_SHARD_BYTES", 8192)
        return write(path)


@pytest.fixture
def store(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "t.zarr"))


def write(path: Path) -> Path:
    rng, n = np.random.default_rng(0), 9
    z = rng.normal(size=(n, 2, 16, 16)).astype(np.float32)
    ok = rng.random((n, 16, 16)) > 0.1
    place = np.stack([np.arange(n)] * 2, 1).astype(np.int32)
    rest = (np.zeros((n, 2)), place, np.zeros(n, np.float32), np.zeros(n, np.int32))
    spec = TileSpec(16, SIDE, SIDE, ("field",), {"seed": 1})
    with TileStore.create(path, spec) as writer:
        for split in module.SPLITS:
            writer.append(split, Tiles(z, 0 * z, ok, ok, *rest))
    return path


def files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def read(path: Path, cache: int = 0) -> None:
    opened = TileStore.open(path, cache)
    for split in module.SPLITS:
        for column in module.HEAVY:
            np.asarray(getattr(opened.split(split), column))


def test_zeros_are_written_too(store):
    listed = json.loads((store / "files.json").read_text())["files"]
    assert {file.relative_to(store).as_posix() for file in files(store)} == {*listed, "files.json"}
    for split in module.SPLITS:
        for column in module.DTYPES:
            assert (store / split / column / "c").is_dir()


@pytest.mark.parametrize("cache", [0, 1 << 30])
def test_a_missing_file_is_named_when_the_store_is_opened(store, cache, tmp_path):
    for file in files(store):
        aside = file.rename(tmp_path / "aside")
        with pytest.raises(ImgturboError, match="prepare"):
            TileStore.open(store, cache)
        aside.rename(file)
    read(store, cache)


@pytest.mark.parametrize("cache", [0, 1 << 30])
def test_a_flipped_bit_is_noticed_by_the_time_it_is_read(store, cache):
    rng = np.random.default_rng(1)
    for file in files(store):
        if file.name == "files.json":
            continue  # what it says of a chunk is not looked at where chunks have their own
        whole = file.read_bytes()
        harmed = bytearray(whole)
        harmed[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        file.write_bytes(harmed)
        split, column = file.relative_to(store).parts[:2] if file.name != "zarr.json" else ("", "")
        with pytest.raises(ImgturboError, match=column or r"zarr\.json") as error:
            np.asarray(getattr(TileStore.open(store, cache).split(split), column))
        assert str(store) in str(error.value)
        file.write_bytes(whole)


def test_a_flipped_bit_of_the_list_is_noticed_or_harmless(store):
    rng = np.random.default_rng(2)
    whole = (store / "files.json").read_bytes()
    for _ in range(20):
        harmed = bytearray(whole)
        harmed[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        (store / "files.json").write_bytes(harmed)
        with contextlib.suppress(ImgturboError):
            read(store)


def test_exchanged_chunks_of_one_size_are_noticed(store):
    one, two = (store / f"train/{name}/c/0/0/0" for name in ("source_valid", "target_valid"))
    assert one.stat().st_size == two.stat().st_size
    two.write_bytes(two.read_bytes()[::-1])
    with pytest.raises(ImgturboError, match=r"train/target_valid/c/0/0/0 is corrupt"):
        read(store, 1 << 30)


def relisted(path: Path, *keys: str | int, value: object, file: str = "zarr.json") -> None:
    """Edit a description and list the files anew, as a forger would."""
    tree = json.loads((path / file).read_text())
    part = tree
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (path / file).write_text(json.dumps(tree))
    list_files(path)


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("attributes", "source", "bands"), ["A"], "make no side"),
        (("attributes", "target", "stretch", "softening", 0), -1.0, "softening"),
        (("attributes", "source", "pixel_scale"), float("nan"), "pixel_scale"),
        (("attributes", "complete"), "yes", "complete"),
        (("attributes", "format"), 1.5, "format"),
        (("attributes", "format"), float("nan"), "format"),
        (("attributes", "tile"), 17, r"source is 9 × 2 × 16 × 16"),
        (("attributes", "tile"), 10**30, "tile"),
        (("attributes", "fields"), [], "points beyond the 0 fields"),
        (("attributes", "recipe"), None, "recipe"),
    ],
)
def test_attributes_that_make_no_store_are_named(store, keys, value, words):
    relisted(store, *keys, value=value)
    with pytest.raises(ImgturboError, match=words):
        read(store)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("shape", 0), 10**12),
        (("shape", 0), 8),
        (("shape", 1), 3),
        (("data_type",), "float64"),
        (("data_type",), "string"),
        (("codecs",), []),
        (("codecs", 0, "name"), "unknown"),
        (("chunk_grid",), None),
        (("chunk_grid", "configuration", "chunk_shape", 0), 0),
        (("node_type",), "group"),
    ],
)
def test_an_array_unlike_the_others_is_named(store, keys, value):
    relisted(store, *keys, value=value, file="train/source/zarr.json")
    with pytest.raises(ImgturboError, match=r"t\.zarr: train.*prepare"):
        read(store)


def test_other_files_beside_do_no_harm(store):
    (store / "train" / ".DS_Store").write_bytes(b"junk")
    (store / "train" / "source" / "c" / "99").write_bytes(b"junk")
    read(store)


@pytest.mark.parametrize("column", [*module.HEAVY, "has_source", "has_target", "paired"])
def test_what_can_be_known_of_a_store_of_0_1_0(tmp_path, column):
    old = Path(shutil.copytree(OLD, tmp_path / "old"))
    read(old)
    assert "no checksums" in describe(old)["warnings"][0]
    shutil.rmtree(old / "train" / column / "c")
    with pytest.raises(ImgturboError, match=r"missing.*prepare"):
        read(old)


@pytest.mark.parametrize("to", ["/dev/zero", "/nowhere", "0"])
@pytest.mark.parametrize("listed", [True, False])
def test_links_to_what_is_no_file_are_refused(store, tmp_path, to, listed):
    place = store if listed else Path(shutil.copytree(OLD, tmp_path / "old"))
    for file in ("train/paired/c/0", "files.json")[: 1 + listed]:
        (place / file).unlink()
        (place / file).symlink_to(to)
        with pytest.raises(ImgturboError, match=r"missing|no file|cannot be read"):
            TileStore.open(place)


def test_a_wrong_row_is_still_a_mistake_of_the_program(store):
    source = TileStore.open(store, 0).split("train").source
    for rows in ([9], [-1]):
        with pytest.raises(IndexError):
            source.take(np.array(rows))
    with pytest.raises(IndexError):
        source[9]
