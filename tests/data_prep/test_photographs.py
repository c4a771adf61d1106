"""Laws of preparing photographs: Lab and back, pictures held out whole, strips never trained on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from data_prep.prepare import prepare
from imgturbo.config import Config, PrepareConfig
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.sky.lab import lab_to_rgb


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(path)
    return path


def colours(seed, height=40, width=56):
    """Smooth random colours (H, W, 3)."""
    coarse = np.random.default_rng(seed).random((5, 7, 3))
    return np.kron(coarse, np.ones((height // 5, width // 7, 1)))


def settings(tmp_path, **pictures):
    tile = {"size": 16, "stride": 8}
    out = tmp_path / "tiles.zarr"
    return PrepareConfig.model_validate({"out": out, "tile": tile, "pictures": pictures})


def rgb_of(split, store, rows):
    """What the tiles show, (n, 3, T, T)."""
    sides = []
    for name in ("source", "target"):
        stretch = getattr(store, name).stretch
        tiles = getattr(split, name)[rows]
        sides.append(np.moveaxis(stretch.inverse(np.moveaxis(tiles, 1, 0)), 0, 1))
    return np.stack([lab_to_rgb(lab) for lab in np.concatenate(sides, axis=1)])


def test_tiles_hold_the_picture_and_whole_pictures_are_held_out(tmp_path):
    names = [f"{k:02}" for k in range(8)]
    for k, name in enumerate(names):
        save(tmp_path / "in" / f"{name}.png", colours(k))
    config = settings(tmp_path, files=[tmp_path / "in"], fraction=0.25, size=None)
    report = prepare(config)
    store = TileStore.open(config.out)
    train, validation = store.split("train"), store.split("validation")
    assert (report.train, report.validation) == (len(train), len(validation))
    assert store.source.names == ("L",)
    assert store.target.names == ("a", "b")
    assert len(set(validation.field.tolist())) == 2
    assert not set(validation.field.tolist()) & set(train.field.tolist())
    assert train.paired.all()
    shown = rgb_of(train, store, slice(None))
    for tile, field, (y, x) in zip(shown, train.field, train.position, strict=True):
        truth = colours(int(store.fields[field]))[y : y + 16, x : x + 16]
        assert np.abs(tile.transpose(1, 2, 0) - truth).max() < 0.005
    assert prepare(config).reused
    # The choice is by name: a further picture changes none of the others' roles but at the margin.
    again = prepare(config, resume=False)
    assert again.validation == report.validation


def test_a_strip_is_seen_by_no_training_tile(tmp_path):
    """The strip alone is bright, so any leak, at any zoom, would show."""
    pixels = np.full((60, 100, 3), 0.2)
    pixels[:, 60:] = 0.9
    save(tmp_path / "one.png", pixels)
    config = settings(
        tmp_path,
        files=[tmp_path / "one.png"],
        hold_out="strip",
        fraction=0.4,
        size=30,
        zooms=[1.0, 0.7, 1.6],
    )
    prepare(config)
    store = TileStore.open(config.out)
    train, validation = store.split("train"), store.split("validation")
    assert len(train) > 8
    assert len(validation) > 0
    assert np.ptp(train.source[:]) < 1e-3
    assert validation.source[:].min() > train.source[:].max()


def test_pairs_are_found_by_name_and_halves_by_side(tmp_path):
    for k in range(3):
        day, night = colours(k), colours(10 + k) / 2
        save(tmp_path / "day" / f"{k}.png", day)
        save(tmp_path / "night" / f"{k}.png", night)
        save(tmp_path / "both" / f"{k}.png", np.concatenate([night, day], axis=1))
    pairs = settings(
        tmp_path,
        kind="pairs",
        files=[tmp_path / "day"],
        targets=[tmp_path / "night"],
        size=32,
    )
    prepare(pairs)
    first = TileStore.open(pairs.out)
    source, target = first.split("train").source[:], first.split("train").target[:]
    assert source.shape[1] == target.shape[1] == 3
    assert target.mean() < source.mean()
    halves = settings(
        tmp_path, kind="halves", files=[tmp_path / "both"], source_half="right", size=32
    )
    halves.out = tmp_path / "halves.zarr"
    prepare(halves)
    second = TileStore.open(halves.out).split("train")
    assert np.array_equal(second.source[:], source)
    assert np.array_equal(second.target[:], target)


def test_transparent_pixels_are_not_valid(tmp_path):
    pixels = np.concatenate([colours(0), np.ones((40, 56, 1))], axis=2)
    pixels[:6, :6, 3] = 0
    save(tmp_path / "a.png", pixels)
    save(tmp_path / "b.png", colours(1))
    config = settings(
        tmp_path, files=[tmp_path / "a.png"], validation=[tmp_path / "b.png"], size=None
    )
    prepare(config)
    train = TileStore.open(config.out).split("train")
    assert not train.source_valid[0, :6, :6].any()
    assert train.source_valid[0, 6:].all()
    assert np.isfinite(train.source[:]).all()


def grey(tmp_path):
    save(tmp_path / "in" / "grey.png", colours(0)[..., 0])
    return {"files": [tmp_path / "in"]}


def broken(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "torn.png").write_bytes(b"no picture")
    return {"files": [tmp_path / "in"]}


def empty(tmp_path):
    (tmp_path / "in").mkdir()
    return {"files": [tmp_path / "in"]}


def lonely(tmp_path):
    save(tmp_path / "day" / "only.png", colours(0))
    save(tmp_path / "night" / "other.png", colours(0))
    return {"kind": "pairs", "files": [tmp_path / "day"], "targets": [tmp_path / "night"]}


def unequal(tmp_path):
    save(tmp_path / "day" / "one.png", colours(0))
    save(tmp_path / "night" / "one.png", colours(0, 20))
    return {"kind": "pairs", "files": [tmp_path / "day"], "targets": [tmp_path / "night"]}


def narrow(tmp_path):
    save(tmp_path / "in" / "narrow.png", colours(0, 60, 28))
    return {"files": [tmp_path / "in"], "hold_out": "strip", "size": None}


def twice(tmp_path):
    path = save(tmp_path / "in" / "one.png", colours(0))
    return {"files": [tmp_path / "in"], "validation": [path]}


def tiny(tmp_path):
    save(tmp_path / "in" / "tiny.png", colours(0, 10, 14))
    return {"files": [tmp_path / "in"], "hold_out": "none", "size": None}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (grey, ["grey.png", "red, green and blue"]),
        (broken, ["torn.png", "cannot be read"]),
        (empty, ["holds no pictures"]),
        (lonely, ["only.png", "targets"]),
        (unequal, ["night", "56 × 20", "56 × 40"]),
        (narrow, ["narrow.png", "28 pixels across"]),
        (twice, ["one.png", "for training and for validation"]),
        (tiny, ["16 pixels", "tile.size"]),
        (lambda tmp_path: {"files": [tmp_path / "gone"]}, ["gone", "no such"]),
    ],
)
def test_bad_files_are_named_in_one_line_and_leave_nothing(tmp_path, make, words):
    config = settings(tmp_path, **make(tmp_path))
    with pytest.raises(ImgturboError) as caught:
        prepare(config)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.zarr"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "override",
    ["prepare.pictures={}", "prepare.pictures={files: [a], targets: [b]}",
     "prepare.pictures={kind: pairs, files: [a]}"],
)  # fmt: skip
def test_a_section_that_cannot_work_is_refused(override):
    with pytest.raises(ImgturboError, match=r"files|targets"):
        Config.from_overrides([override])


def test_photographs_have_no_aligned_sky(tmp_path):
    save(tmp_path / "in" / "one.png", colours(0))
    config = settings(tmp_path, files=[tmp_path / "in"])
    with pytest.raises(ImgturboError, match="--aligned"):
        prepare(config, keep_aligned=tmp_path / "aligned")


def pairs_in_folders(tmp_path):
    """day/a/0.png with day/b/0.png, night/a/0.png with night/b/0.png; the second is the first."""
    for seed, folder in enumerate(("day", "night")):
        for side in "ab":
            save(tmp_path / folder / side / "0.png", colours(seed))
            (tmp_path / folder / side / "._0.png").write_bytes(b"\0\5\x16\x07")  # AppleDouble
    return [[tmp_path / folder / side for folder in ("day", "night")] for side in "ab"]


def test_pairs_of_one_name_go_by_their_folders(tmp_path):
    files, targets = pairs_in_folders(tmp_path)
    options = {"kind": "pairs", "size": None, "hold_out": "none"}
    config = settings(tmp_path, files=files, targets=targets, **options)
    prepare(config)
    train = TileStore.open(config.out).split("train")
    assert len(set(train.field.tolist())) == 2
    np.testing.assert_array_equal(train.source[:], train.target[:])
    with pytest.raises(ImgturboError, match="cannot be told which is its target"):
        prepare(settings(tmp_path, files=files, targets=[*targets, targets[0]], **options))


def test_pairs_are_those_that_viewers_show(tmp_path):
    """One of a pair lies on its side in the file, and says so."""
    picture = Image.fromarray(np.rint(255 * colours(0)).astype(np.uint8))
    save(tmp_path / "b" / "0.png", colours(0))
    (tmp_path / "a").mkdir()
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[274] = 6
    turned.save(tmp_path / "a" / "0.png", exif=exif)
    entries = {"files": [tmp_path / "a"], "targets": [tmp_path / "b"]}
    config = settings(tmp_path, kind="pairs", size=None, hold_out="none", **entries)
    prepare(config)
    train = TileStore.open(config.out).split("train")
    np.testing.assert_array_equal(train.source[:], train.target[:])
