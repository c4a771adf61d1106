"""The tile store: what goes in comes out, whole or not at all; nothing else passes for one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.data import store as store_module
from imgturbo.data.store import Tiles, TileSpec, TileStore
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch


def side(*bands):
    return Side(bands, "MJy/sr", Stretch.linear(len(bands)), pixel_scale=0.03)


def make_spec(tile=11, source=("F606W",), target=("F200W", "F444W"), fields=("a", "b")):
    return TileSpec(
        tile=tile,
        source=side(*source) if source else None,
        target=side(*target) if target else None,
        fields=tuple(fields),
        recipe={"seed": 3},
    )


def make_tiles(rng, spec, n, sides=("source", "target"), field=0):
    columns = {}
    for name in ("source", "target"):
        here = name in sides
        shape = (n, *spec.shape(name))
        columns[name] = rng.normal(size=shape).astype(np.float32) if here else None
        mask = rng.random((n, *spec.shape(f"{name}_valid"))) > 0.1
        columns[f"{name}_valid"] = mask if here else None
    return Tiles(
        **columns,
        sky=rng.normal(size=(n, 2)),
        position=rng.integers(0, 999, (n, 2)).astype(np.int32),
        residual=rng.random(n).astype(np.float32),
        field=np.full(n, field, np.int32),
    )


@settings(max_examples=8)
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["st", "s", "t"])), max_size=4),
    shard=st.integers(1, 5),
    tile=st.sampled_from([None, 7, 16]),
)
def test_rows_come_back_as_written(tmp_path, cache_bytes, sizes, shard, tile):
    """Any sequence of appends, any shard size: rows, order and sides survive."""
    spec = make_spec(tile=tile)
    rng = np.random.default_rng(0)
    row_bytes = 4 * int(np.prod(spec.shape("target")))
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_CHUNK_BYTES", row_bytes)
        patch.setattr(store_module, "_SHARD_BYTES", row_bytes * shard)
        with TileStore.create(tmp_path / "t.zarr", spec) as writer:
            for n, letters in sizes:
                sides = [s for s in ("source", "target") if s[0] in letters]
                tiles = make_tiles(rng, spec, n, sides)
                writer.append("train", tiles)
                written.append(tiles)
    split = TileStore.open(tmp_path / "t.zarr", cache_bytes).split("train")
    assert len(split) == sum(n for n, _ in sizes)
    start = 0
    for tiles in written:
        rows = slice(start, start + len(tiles))
        start = rows.stop
        for column, values in tiles.columns().items():
            stored = getattr(split, column)[rows]
            if values is None:
                assert not stored.any()
            else:
                np.testing.assert_array_equal(stored, values)
    if len(split):
        order = rng.integers(0, len(split), 13)
        np.testing.assert_array_equal(split.source.take(order), np.asarray(split.source)[order])
    assert len(TileStore.open(tmp_path / "t.zarr").split("validation")) == 0


def test_attributes_travel(tmp_path):
    spec = make_spec()
    with TileStore.create(tmp_path / "t.zarr", spec) as writer:
        writer.append("validation", make_tiles(np.random.default_rng(1), spec, 2, field=1))
    store = TileStore.open(tmp_path / "t.zarr")
    assert (store.tile, store.source, store.target) == (spec.tile, spec.source, spec.target)
    assert (store.fields, store.recipe) == (["a", "b"], {"seed": 3})
    assert "field b" in store.split("validation").label(1)


def test_side_without_channels(tmp_path):
    spec = make_spec(source=None)
    with TileStore.create(tmp_path / "t.zarr", spec) as writer:
        writer.append("train", make_tiles(np.random.default_rng(1), spec, 5, ["target"]))
    split = TileStore.open(tmp_path / "t.zarr").split("train")
    assert split.source.shape == (5, 0, 11, 11)
    assert split.has_target.all()
    assert not split.has_source.any()


def test_few_files(tmp_path):
    """Sharding: a thousand tiles are not a thousand files."""
    spec = make_spec(tile=8)
    with TileStore.create(tmp_path / "t.zarr", spec) as writer:
        writer.append("train", make_tiles(np.random.default_rng(1), spec, 1000))
    assert sum(path.is_file() for path in (tmp_path / "t.zarr").rglob("*")) < 60


def test_images_lie_in_small_chunks_within_large_files(tmp_path):
    """A random row costs a chunk and not a shard; and 40 tiles are not 40 files."""
    spec = make_spec(tile=128)
    with TileStore.create(tmp_path / "s.zarr", spec) as writer:
        writer.append("train", make_tiles(np.random.default_rng(0), spec, 40))
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    for name in ("source", "target", "source_valid", "target_valid"):
        array = group[f"train/{name}"]
        assert array.shards[0] >= 40
        assert array.chunks[0] * array.dtype.itemsize * array[0].size <= 2 * (256 << 10)
        assert (
            len([p for p in (tmp_path / f"s.zarr/train/{name}/c").rglob("*") if p.is_file()]) == 1
        )
    # What is small and read whole needs no shards.
    assert group["train/paired"].shards is None


def test_an_exception_leaves_nothing_and_keeps_the_old(tmp_path):
    spec = make_spec()
    path = tmp_path / "t.zarr"

    def write(fail):
        with TileStore.create(path, spec) as writer:
            writer.append("train", make_tiles(np.random.default_rng(1), spec, 3))
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(fail=True)
    assert list(tmp_path.iterdir()) == []
    write(fail=False)
    with pytest.raises(KeyboardInterrupt):
        write(fail=True)
    assert len(TileStore.open(path).split("train")) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["t.zarr"]


def test_wrong_shapes_are_refused(tmp_path):
    spec = make_spec()
    other = make_tiles(np.random.default_rng(0), make_spec(target=("F200W",)), 2)
    with (
        pytest.raises(ValueError, match="target has shape"),
        TileStore.create(tmp_path / "t.zarr", spec) as writer,
    ):
        writer.append("train", other)


def test_what_is_not_a_store_is_named(tmp_path):
    with pytest.raises(ImgturboError, match="no such tile store"):
        TileStore.open(tmp_path / "absent.zarr")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"png")
    with pytest.raises(ImgturboError, match="not a tile store"):
        TileStore.open(tmp_path / "photos")
    with pytest.raises(ImgturboError, match="not overwritten"):
        TileStore.create(tmp_path / "photos", make_spec())
    assert (tmp_path / "photos" / "a.png").read_bytes() == b"png"

    path = tmp_path / "t.zarr"
    with TileStore.create(path, make_spec()):
        pass
    for key, value, words in [("format", 99, "format 99"), ("complete", False, "incomplete")]:
        broken = tmp_path / f"{key}.zarr"
        shutil.copytree(path, broken)
        tree = json.loads((broken / "zarr.json").read_text())
        tree["attributes"][key] = value
        (broken / "zarr.json").write_text(json.dumps(tree))
        with pytest.raises(ImgturboError, match=words):
            TileStore.open(broken)


def test_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImgturboError, match=r"cannot be written.*prepare\.out"):
        TileStore.create(tmp_path / "file" / "t.zarr", make_spec())


def test_disk_full_is_named(tmp_path, monkeypatch):
    spec = make_spec()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    def write():
        with TileStore.create(tmp_path / "t.zarr", spec) as writer:
            writer.append("train", make_tiles(np.random.default_rng(1), spec, 3))
            monkeypatch.setattr("zarr.Array.append", full)

    with pytest.raises(ImgturboError, match="No space left on device"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_store_needs_neither_torch_nor_astropy():
    code = (
        "import sys, imgturbo.data.store\n"
        "assert not {'torch', 'astropy', 'albumentations'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
