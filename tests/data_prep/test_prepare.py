"""From files to tiles: exact pixels, one grid, nothing leaked, resumed, and every mistake named."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from data_prep import prepare as prepare_module
from data_prep import staging
from data_prep.prepare import prepare
from data_prep.products import quick_look
from imgturbo.config import FieldConfig, PrepareConfig
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, read_sky, write_sky
from imgturbo.sky.stretch import Stretch
from imgturbo.tiles.store import TileStore


def header(shape, ra=150.0, dec=2.2, scale=0.05, angle=0.0, band="F814W", unit="MJy/sr"):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    cards = wcs.to_header()
    cards["BUNIT"] = unit
    cards["FILTER"] = band
    return cards


def stars(shape, n=40, seed=0, noise=0.02):
    """Gaussian sources on noise; the same sky at every call with the same seed."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = rng.normal(0, noise, shape)
    for _ in range(n):
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        image += rng.uniform(1, 20) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.7**2))
    return image.astype(np.float32)


def write(path, data, **options):
    fits.writeto(path, data, header(data.shape, **options))
    return path


@pytest.fixture
def pair(tmp_path):
    """Two source bands and one target band on one grid, NaN borders that differ."""
    shape = (101, 131)
    blue, red, deep = (stars(shape, seed=0) * f for f in (1.0, 2.0, 5.0))
    blue[:7] = np.nan
    red[:, :5] = np.nan
    deep[-9:] = np.nan
    source = [
        write(tmp_path / "blue.fits", blue, band="F606W"),
        write(tmp_path / "red.fits", red, band="F814W"),
    ]
    return FieldConfig(
        name="cosmos", source=source, target=[write(tmp_path / "t.fits", deep, band="F200W")]
    )


def settings(tmp_path, *fields, **options):
    content = {
        "fields": list(fields),
        "out": tmp_path / "out" / "tiles.zarr",
        "register": {"method": "none"},
        "tile": {"size": 16, "min_valid": 0.5},
        "split": {"fraction": 0.25, "block": 1},
        "workers": 1,
    } | options
    return PrepareConfig.model_validate(content)


def test_tiles_are_the_stretched_pixels_at_their_position(tmp_path, pair):
    config = settings(tmp_path, pair)
    report = prepare(config)
    store = TileStore.open(config.out)
    source, target = read_sky(pair.source), read_sky(pair.target)
    images = {"source": source, "target": target}
    assert store.source["bands"] == ["F606W", "F814W"]
    assert store.target["unit"] == target.unit
    assert store.target["pixel_scale"] == pytest.approx(0.05, rel=1e-4)
    seen = 0
    for name in ("train", "validation"):
        split = store.split(name)
        seen += len(split)
        assert split.paired.all()
        for row, (y, x) in enumerate(split.position):
            window = (slice(y, y + 16), slice(x, x + 16))
            for side, image in images.items():
                stretch = Stretch.from_dict(getattr(store, side)["stretch"])
                valid = image.valid[window]
                flux = image.data[:, *window]
                expected = np.where(valid, stretch(flux), 0)
                np.testing.assert_array_equal(getattr(split, f"{side}_valid")[row], valid)
                np.testing.assert_allclose(getattr(split, side)[row], expected, atol=2e-5)
                assert valid.mean() >= 0.5
            centre = target.wcs.all_pix2world(x + 7.5, y + 7.5, 0)
            np.testing.assert_allclose(split.sky[row], centre, atol=1e-7)
    assert seen == report.train + report.validation
    assert report.validation > 0
    assert report.train > report.validation


def test_stretch_knows_training_sky_only(tmp_path, pair):
    """Another validation sky leaves the stretch as it was."""
    config = settings(
        tmp_path, pair, split={"method": "rows", "rows": [60, 101]}, tile={"size": 16}
    )
    prepare(config)
    before = TileStore.open(config.out).target["stretch"]
    with fits.open(pair.target[0], mode="update") as hdus:
        hdus[0].data[60:90] += 1e4
    report = prepare(config)
    assert not report.reused
    assert TileStore.open(config.out).target["stretch"] == before


def test_source_goes_to_the_targets_grid(tmp_path):
    """A smooth sky seen on a rotated, coarser grid agrees with the target's, tile by tile."""

    def sky_at(wcs, shape):
        y, x = np.indices(shape)
        ra, dec = wcs.all_pix2world(x, y, 0)
        u, v = (ra - 150.0) * 3600 * np.cos(np.radians(2.2)), (dec - 2.2) * 3600
        return (2 + np.sin(u / 0.9) + np.cos(v / 0.7)).astype(np.float32)

    heads = {
        "s": header((120, 120), angle=25, scale=0.08),
        "t": header((110, 97), scale=0.05),
    }
    paths = {}
    for name, head in heads.items():
        shape = (120, 120) if name == "s" else (110, 97)
        paths[name] = tmp_path / f"{name}.fits"
        fits.writeto(paths[name], sky_at(WCS(head), shape), head)
    field = FieldConfig(name="a", source=[paths["s"]], target=[paths["t"]])
    config = settings(tmp_path, field)
    prepare(config)
    store = TileStore.open(config.out)
    split = store.split("train")
    z = Stretch.from_dict(store.source["stretch"]).inverse(np.moveaxis(split.source[:], 1, 0))
    x = Stretch.from_dict(store.target["stretch"]).inverse(np.moveaxis(split.target[:], 1, 0))
    both = (split.source_valid[:] & split.target_valid[:])[None]
    assert both.mean() > 0.9
    assert np.abs(z - x)[both].max() < 0.05


def test_pixel_scale_resamples_both(tmp_path, pair):
    config = settings(tmp_path, pair, pixel_scale=0.1)
    prepare(config, keep_aligned=tmp_path / "aligned")
    store = TileStore.open(config.out)
    assert store.source["pixel_scale"] == pytest.approx(0.1)
    target = read_sky([tmp_path / "aligned" / "cosmos_target.fits"])
    assert target.shape == (1, 51, 66)
    assert target.pixel_scale == pytest.approx(0.1)
    original = read_sky(pair.target)
    here = target.wcs.all_pix2world(32.5, 25, 0)
    there = original.wcs.all_pix2world(65.5, 50.5, 0)
    np.testing.assert_allclose(here, there, atol=1e-9)


def test_mixed_set(tmp_path, pair):
    """A pair, a source alone on another scale, a target alone: one store, each row as it is."""
    alone = write(
        tmp_path / "alone_b.fits", stars((60, 60), seed=3), band="F606W", ra=151, scale=0.1
    )
    red = write(tmp_path / "alone_r.fits", stars((60, 60), seed=4), band="F814W", ra=151, scale=0.1)
    deep = write(tmp_path / "alone_t.fits", stars((64, 80), seed=5), band="F200W", ra=152)
    fields = [
        FieldConfig(name="only-z", source=[alone, red]),
        pair,
        FieldConfig(name="only-x", target=[deep]),
    ]
    config = settings(tmp_path, *fields)
    report = prepare(config)
    assert [f.kind for f in report.fields] == ["source", "pair", "target"]
    assert all(f.train and f.validation for f in report.fields)
    split = TileStore.open(config.out).split("train")
    kinds = [(True, False), (True, True), (False, True)]
    for index, (z, x) in enumerate(kinds):
        rows = split.field == index
        assert (split.has_source[rows] == z).all()
        assert (split.has_target[rows] == x).all()
        assert (split.paired[rows] == (z and x)).all()
        if not x:
            assert not split.target_valid[:][rows].any()
    # The lone source went to the common scale: 120 pixels of 0.05 instead of 60 of 0.1.
    assert split.position[split.field == 0].max() > 60


def test_fields_in_parallel_give_the_same_store(tmp_path, pair):
    other = FieldConfig(
        name="egs",
        source=[
            write(tmp_path / "b2.fits", stars((70, 70), seed=7), band="F606W", ra=215),
            write(tmp_path / "r2.fits", stars((70, 70), seed=8), band="F814W", ra=215),
        ],
        target=[write(tmp_path / "t2.fits", stars((70, 70), seed=9), band="F200W", ra=215)],
    )
    stores = []
    for workers in (1, 2):
        config = settings(
            tmp_path, pair, other, workers=workers, out=tmp_path / f"{workers}" / "t.zarr"
        )
        prepare(config)
        stores.append(TileStore.open(config.out))
    assert stores[0].attrs == stores[1].attrs
    for name in ("train", "validation"):
        a, b = (store.split(name) for store in stores)
        np.testing.assert_array_equal(a.source[:], b.source[:])
        np.testing.assert_array_equal(a.position, b.position)


def test_interrupted_run_continues(tmp_path, pair, monkeypatch):
    """Finished fields are not aligned again, and the store is that of an undisturbed run."""
    second = pair.model_copy(update={"name": "again"})
    undisturbed = settings(tmp_path, pair, second, out=tmp_path / "whole" / "t.zarr")
    prepare(undisturbed)
    config = settings(tmp_path, pair, second)
    aligned = []
    align = staging.align

    def interrupted(*args):
        if aligned:
            raise KeyboardInterrupt
        aligned.append(1)
        return align(*args)

    monkeypatch.setattr(staging, "align", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(config)
    assert not config.out.exists()

    calls = []
    monkeypatch.setattr(staging, "align", lambda *args: calls.append(1) or align(*args))
    # Killed once more, this time while the store is being written.
    with monkeypatch.context() as patch:

        def killed(*args):
            raise KeyboardInterrupt

        patch.setattr(prepare_module, "_append", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(config)
    assert len(calls) == 1
    assert not config.out.exists()
    prepare(config)
    assert len(calls) == 1
    a, b = TileStore.open(config.out), TileStore.open(undisturbed.out)
    assert a.attrs == b.attrs
    np.testing.assert_array_equal(a.split("train").target[:], b.split("train").target[:])
    assert [p.name for p in config.out.parent.iterdir()] == ["tiles.zarr"]


def test_nothing_changed_nothing_done(tmp_path, pair, monkeypatch):
    config = settings(tmp_path, pair)
    first = prepare(config)
    monkeypatch.setattr(prepare_module, "stage", None)
    again = prepare(config)
    assert again.reused
    assert again.fields == first.fields
    monkeypatch.undo()
    changed = config.model_copy(update={"split": config.split.model_copy(update={"guard": 3})})
    assert not prepare(changed).reused
    assert not prepare(changed, resume=False).reused
    assert not prepare(changed, keep_aligned=tmp_path / "aligned").reused
    assert prepare(changed, keep_aligned=tmp_path / "aligned").reused
    # Another preparation replaces the aligned images as it replaces the tiles.
    wider = config.model_copy(update={"split": config.split.model_copy(update={"guard": 5})})
    assert not prepare(wider, keep_aligned=tmp_path / "aligned").reused


def test_aligned_images_and_the_validation_strip(tmp_path, pair):
    config = settings(tmp_path, pair, split={"method": "rows", "rows": [60, 95]}, tile={"size": 16})
    folder = tmp_path / "aligned"
    prepare(config, keep_aligned=folder)
    assert {p.name for p in folder.iterdir()} == {
        "cosmos_source.fits", "cosmos_target.fits",
        "cosmos_validation_source.fits", "cosmos_validation_target.fits",
    }  # fmt: skip
    original, whole = read_sky(pair.target), read_sky([folder / "cosmos_target.fits"])
    strip = read_sky([folder / "cosmos_validation_target.fits"])
    np.testing.assert_array_equal(whole.data, original.data)
    np.testing.assert_array_equal(strip.data, original.data[:, 60:95])
    assert (strip.bands, strip.unit) == (original.bands, original.unit)
    np.testing.assert_allclose(
        strip.wcs.all_pix2world(3, 4, 0), original.wcs.all_pix2world(3, 64, 0), atol=1e-9
    )
    assert read_sky([folder / "cosmos_source.fits"]).bands == ("F606W", "F814W")


def test_progress_never_goes_back(tmp_path, pair):
    said = []
    prepare(settings(tmp_path, pair), progress=lambda what, fraction: said.append(fraction))
    assert said == sorted(said)
    assert said[0] == 0
    assert said[-1] == 1


def test_quick_look(tmp_path, pair):
    config = settings(tmp_path, pair)
    prepare(config)
    quick_look(TileStore.open(config.out), tmp_path / "look.png", count=5)
    assert read_sky([tmp_path / "look.png"]).shape == (3, 32, 80)


def picture(path, planes):
    write_sky(path, SkyImage.from_array(planes, unit="display", bands=("R", "G", "B")))
    return path


@pytest.fixture
def pictures(tmp_path):
    """Two colour pictures of one sky, without a WCS."""
    bright = np.clip(
        np.stack([stars((90, 121), seed=2, noise=0.01) / n for n in (9, 12, 15)]), 0, 1
    )
    return FieldConfig(
        name="smacs",
        source=[picture(tmp_path / "hubble.png", bright**0.8)],
        target=[picture(tmp_path / "webb.png", bright)],
    )


@pytest.mark.parametrize("method", ["none", "sources"])
def test_pictures_without_a_wcs(tmp_path, pictures, method):
    config = settings(tmp_path, pictures, register={"method": method})
    report = prepare(config, keep_aligned=tmp_path / "aligned")
    store = TileStore.open(config.out)
    assert store.source["unit"] == "display"
    assert store.source["pixel_scale"] is None
    assert Stretch.from_dict(store.source["stretch"]) == Stretch.linear(3)
    split = store.split("train")
    np.testing.assert_array_equal(split.sky, split.position[:, ::-1] + 7.5)
    original = read_sky(pictures.source)
    moved = read_sky([tmp_path / "aligned" / "smacs_source.fits"])
    both = moved.valid & original.valid
    assert both.mean() > 0.9
    # Without registration the source keeps its pixels; with it, it moves by next to nothing.
    away = np.abs(moved.data - original.data)[:, both]
    assert away.max() < 1e-5 if method == "none" else np.median(away) < 0.01
    (field,) = report.fields
    if method == "none":
        assert field.matched is None
        assert np.isnan(split.residual).all()
    else:
        assert field.matched >= 8
        assert field.residual_after < 0.5
        assert np.isfinite(split.residual).all()


def test_a_fields_own_registration_wins(tmp_path, pictures):
    own = {**pictures.model_dump(exclude={"register_"}), "register": {"method": "none"}}
    report = prepare(settings(tmp_path, own, register={"method": "sources"}))
    assert report.fields[0].matched is None
    again = prepare(settings(tmp_path, pictures, register={"method": "sources"}))
    assert again.fields[0].matched >= 8


def test_a_picture_in_two_fields_is_refused(tmp_path, pictures):
    again = FieldConfig(name="again", target=pictures.target)
    with pytest.raises(ImgturboError, match=r"webb\.png: in fields smacs and again"):
        prepare(settings(tmp_path, pictures, again))
    with pytest.raises(ImgturboError, match=r"webb\.png: has no WCS, so 'prepare\.pixel_scale'"):
        prepare(settings(tmp_path, pictures, pixel_scale=0.1))


def test_pictures_and_fits_do_not_mix(tmp_path, pair, pictures):
    alone = FieldConfig(name="alone", source=pictures.source)
    target = FieldConfig(name="target", target=pair.target)
    with pytest.raises(ImgturboError, match=r"hubble\.png: has no WCS, unlike the first field"):
        prepare(settings(tmp_path, target, alone))


def test_real_hubble_and_webb(tmp_path, real_data):
    """HE0435: the WCS of the pair is wrong by two pixels, five sources put it right."""
    folder = real_data / "fits" / "hst_jwst_lensed_quasars"
    field = FieldConfig(
        name="he0435",
        source=[folder / "he0435_hst_f814w.fits"],
        target=[folder / "he0435_jwst_f115w.fits"],
    )
    register = {"method": "sources", "model": "shift", "min_sources": 3}
    report = prepare(settings(tmp_path, field, register=register))
    assert report.fields[0].residual_before > 1
    assert report.fields[0].residual_after < 0.5
    assert report.train > 10


# --------------------------------------------------------------------------- mistakes are named


def test_disagreeing_fields_are_named(tmp_path, pair):
    first, blue = pair.target[0], pair.source[0]
    deep = stars((40, 40))
    cases = [
        ({"source": pair.source, "target": [first, blue]}, r"t\.fits: the target has 2 bands"),
        ({"target": [write(tmp_path / "band.fits", deep, band="F150W")]}, r"band\.fits.*F150W"),
        (
            {"target": [write(tmp_path / "u.fits", deep, band="F200W", unit="electron/s")]},
            r"u\.fits: the target is in electron",
        ),
        (
            {"target": [write(tmp_path / "s.fits", deep, band="F200W", scale=0.03)]},
            r"s\.fits: pixels of 0\.0300 arcsec.*prepare\.pixel_scale",
        ),
    ]
    for content, words in cases:
        config = settings(tmp_path, pair, FieldConfig(name="second", **content))
        with pytest.raises(ImgturboError, match=words):
            prepare(config)
    assert not (tmp_path / "out").exists()


def test_no_common_sky_is_named(tmp_path, pair):
    far = write(tmp_path / "far.fits", stars((50, 50)), band="F200W", ra=190)
    field = FieldConfig(name="a", source=pair.source, target=[far])
    with pytest.raises(ImgturboError, match=r"blue\.fits.*far\.fits"):
        prepare(settings(tmp_path, field))


def test_a_mistake_in_a_worker_is_named(tmp_path, pair):
    """The other field's work is kept, and found again once the mistake is mended."""
    far = write(tmp_path / "far.fits", stars((50, 50)), band="F200W", ra=190)
    wrong = FieldConfig(name="b", source=pair.source, target=[far])
    with pytest.raises(ImgturboError, match=r"far\.fits"):
        prepare(settings(tmp_path, pair, wrong, workers=2))
    (piece,) = (tmp_path / "out" / ".tiles.zarr.work").iterdir()
    assert piece.name.startswith("cosmos-")


def test_no_common_valid_pixel_is_named(tmp_path, pair):
    deep = np.full((101, 131), np.nan, np.float32)
    deep[:5] = 1.0
    deep[:, :3] = 1.0
    target = write(tmp_path / "edge.fits", deep, band="F200W")
    field = FieldConfig(name="a", source=pair.source[:1], target=[target])
    blue = fits.getdata(pair.source[0])
    blue[:, :20] = np.nan
    fits.writeto(pair.source[0], blue, fits.getheader(pair.source[0]), overwrite=True)
    with pytest.raises(ImgturboError, match=r"blue\.fits and .*edge\.fits have no valid pixel"):
        prepare(settings(tmp_path, field))


def test_empty_images_are_named(tmp_path, pair):
    nothing = write(tmp_path / "nan.fits", np.full((50, 50), np.nan, np.float32), band="F200W")
    with pytest.raises(ImgturboError, match=r"nan\.fits"):
        prepare(settings(tmp_path, FieldConfig(name="a", target=[nothing])))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": {"size": 256}}, "no tile fits: tiles are 256 pixels"),
        ({"tile": {"size": 96, "min_valid": 1.0}}, "no tile of 96 pixels is measured for 100%"),
        ({"split": {"method": "rows", "rows": [500, 600]}}, "has 101 rows"),
        ({"split": {"method": "rows", "rows": [0, 101]}}, "no training sky is left"),
        ({"fields": []}, "'prepare.fields' is empty"),
    ],
)
def test_impossible_settings_are_named(tmp_path, pair, options, words):
    with pytest.raises(ImgturboError, match=words):
        prepare(settings(tmp_path, pair, **options))
    assert not (tmp_path / "out" / "tiles.zarr").exists()


def test_names_are_checked(tmp_path, pair):
    with pytest.raises(ImgturboError, match="two fields are named 'cosmos'"):
        prepare(settings(tmp_path, pair, pair))
    with pytest.raises(ImgturboError, match="becomes a file name"):
        prepare(settings(tmp_path, pair.model_copy(update={"name": "a/b"})))
    missing = pair.model_copy(update={"target": [tmp_path / "absent.fits"]})
    with pytest.raises(ImgturboError, match=r"absent\.fits"):
        prepare(settings(tmp_path, missing))


def test_out_must_be_a_tile_store(tmp_path, pair):
    config = settings(tmp_path, pair)
    config.out.mkdir(parents=True)
    (config.out / "thesis.tex").write_text("years of work")
    with pytest.raises(ImgturboError, match="not overwritten"):
        prepare(config)
    assert (config.out / "thesis.tex").read_text() == "years of work"


def test_a_full_disk_is_named(tmp_path, pair, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging.np, "save", full)
    config = settings(tmp_path, pair)
    with pytest.raises(ImgturboError, match="No space left on device"):
        prepare(config)
    assert not list((tmp_path / "out").rglob("*.npy"))
