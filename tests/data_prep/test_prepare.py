"""From files to tiles: exact pixels, one grid, nothing leaked, resumed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from prepare_fields import header, settings, stars, write

from data_prep import prepare as prepare_module
from data_prep import staging
from data_prep.prepare import prepare
from data_prep.staging import Staged
from imgturbo.config import FieldConfig
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky


def test_tiles_are_the_stretched_pixels_at_their_position(tmp_path, pair):
    config = settings(tmp_path, pair)
    report = prepare(config)
    store = TileStore.open(config.out)
    source, target = read_sky(pair.source), read_sky(pair.target)
    images = {"source": source, "target": target}
    assert store.source.names == ("F606W", "F814W")
    assert store.target.unit == target.unit
    assert store.target.pixel_scale == pytest.approx(0.05, rel=1e-4)
    seen = 0
    for name in ("train", "validation"):
        split = store.split(name)
        seen += len(split)
        assert split.paired.all()
        for row, (y, x) in enumerate(split.position):
            window = (slice(y, y + 16), slice(x, x + 16))
            for side, image in images.items():
                stretch = getattr(store, side).stretch
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
        tmp_path,
        pair,
        split={"method": "rows", "rows": [60, 101], "guard": 0},
        tile={"size": 16},
    )
    prepare(config)
    before = TileStore.open(config.out).target.stretch
    with fits.open(pair.target[0], mode="update") as hdus:
        hdus[0].data[60:90] += 1e4
    report = prepare(config)
    assert not report.reused
    assert TileStore.open(config.out).target.stretch == before


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
    z = store.source.stretch.inverse(np.moveaxis(split.source[:], 1, 0))
    x = store.target.stretch.inverse(np.moveaxis(split.target[:], 1, 0))
    both = (split.source_valid[:] & split.target_valid[:])[None]
    assert both.mean() > 0.9
    assert np.abs(z - x)[both].max() < 0.05


def test_pixel_scale_resamples_both(tmp_path, pair):
    config = settings(tmp_path, pair, pixel_scale=0.1)
    prepare(config, keep_aligned=tmp_path / "aligned")
    store = TileStore.open(config.out)
    assert store.source.pixel_scale == pytest.approx(0.1)
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
    config = settings(
        tmp_path, pair, split={"method": "rows", "rows": [60, 95], "guard": 9}, tile={"size": 16}
    )
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


def test_real_hubble_and_webb(tmp_path, real_data):
    """HE0435: the WCS of the pair is wrong by two pixels, five sources put it right."""
    folder = real_data / "fits" / "hst_jwst_lensed_quasars"
    field = FieldConfig(
        name="he0435",
        source=[folder / "he0435_hst_f814w.fits"],
        target=[folder / "he0435_jwst_f115w.fits"],
        source_unit="electron/s",  # neither file states one
        target_unit="MJy/sr",
    )
    register = {"method": "sources", "model": "shift", "min_sources": 3}
    report = prepare(settings(tmp_path, field, register=register))
    assert report.fields[0].residual_before > 1
    assert report.fields[0].residual_after < 0.5
    assert report.train > 10


def test_places_in_the_store_are_icrs_whatever_the_header_says(tmp_path):
    """A galactic field: its tiles' right ascensions and declinations, not l and b."""
    cards = fits.Header({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "BUNIT": "MJy/sr"})
    cards.update({"CRVAL1": 30.0, "CRVAL2": 60.0, "CRPIX1": 20.5, "CRPIX2": 24.5})
    cards.update({"CDELT1": -1.4e-5, "CDELT2": 1.4e-5})
    fits.writeto(tmp_path / "a.fits", stars((48, 40)), cards)
    field = FieldConfig(name="a", target=[tmp_path / "a.fits"])
    prepare(settings(tmp_path, field, split={"fraction": 0}))
    split = TileStore.open(tmp_path / "out" / "tiles.zarr").split("train")
    y, x = (split.position + 7.5).T
    expected = WCS(cards).pixel_to_world(x, y).icrs
    places = np.stack([expected.ra.deg, expected.dec.deg], axis=1)
    np.testing.assert_allclose(split.sky, places, atol=1e-7)


def test_tiles_that_are_misaligned_are_left_out(tmp_path, pair, monkeypatch):
    """Above the limit neither training nor validation sees them; what is unknown is kept."""
    monkeypatch.setattr(
        Staged, "residual", lambda self, x, y: np.where(x > 60, np.nan, x / 40).astype(np.float32)
    )
    kept = prepare(settings(tmp_path, pair, tile={"size": 16, "max_residual": None}))
    cut = prepare(settings(tmp_path, pair, tile={"size": 16, "max_residual": 0.5}))
    assert kept.fields[0].misaligned == 0
    lost = cut.fields[0].misaligned
    assert lost > 0
    assert cut.train + cut.validation + lost == kept.train + kept.validation
    for name in ("train", "validation"):
        split = TileStore.open(cut.out).split(name)
        assert not (split.residual > 0.5).any()
        assert np.isnan(split.residual).any()


def test_a_field_without_a_well_aligned_tile_is_named(tmp_path, pair, monkeypatch):
    monkeypatch.setattr(Staged, "residual", lambda self, x, y: np.full(len(x), 3.0, np.float32))
    with pytest.raises(ImgturboError, match=r"misaligned by more than .*max_residual'"):
        prepare(settings(tmp_path, pair))
