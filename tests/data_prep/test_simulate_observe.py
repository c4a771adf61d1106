"""Laws of the files: headers that astropy reads back, zero points, borders, seeds, errors."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from data_prep.simulate import expose, hubble, simulate, webb, write_exposure, write_truth
from data_prep.simulate.sources import Scene, Source
from imgturbo.errors import ImgturboError

SKY = (110.83, -73.45)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("sky"), pixels=160, seed=4)


def zeropoint(header: fits.Header) -> float:
    """As an astronomer reads it: AB magnitude of one unit a pixel."""
    if "PHOTFLAM" in header:
        return -2.5 * np.log10(header["PHOTFLAM"]) - 5 * np.log10(header["PHOTPLAM"]) - 2.408
    return -6.10 - 2.5 * np.log10(header["PIXAR_SR"])


def test_files_look_as_the_archives_do(pair):
    assert [p.name for p in pair.source] == ["hst_f606w.fits", "hst_f814w.fits"]
    assert [p.name for p in pair.target] == [f"jwst_f{b}w.fits" for b in (150, 277, 444)]
    for path in (*pair.source, *pair.target):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path) as hdus:
                hdus.verify("exception")
                hst = "hst" in path.name
                names = ["SCI", "WHT"] if hst else ["SCI", "ERR", "WHT"]
                assert [h.name for h in hdus[1:]] == names
                science = hdus["SCI", 1]
                assert science.header["FILTER"].lower() in path.name
                assert science.header["BUNIT"] == ("ELECTRONS/S" if hst else "MJy/sr")
                assert science.data.dtype.kind == "f"
                wcs = WCS(science.header)
                scale = np.sqrt(wcs.proj_plane_pixel_area().to_value("arcsec2"))
                assert scale == pytest.approx(0.05 if hst else 0.04)
        assert not list(path.parent.glob(".*"))


def test_unseen_pixels_are_nan_with_no_weight(pair):
    for path in (*pair.source, *pair.target):
        with fits.open(path) as hdus:
            science, weight = hdus["SCI"].data, hdus["WHT"].data
            np.testing.assert_array_equal(np.isnan(science), weight == 0)
            assert 0.005 < np.isnan(science).mean() < 0.35
            assert np.isnan(science[0, 0])
            if "ERR" in hdus:
                np.testing.assert_array_equal(np.isnan(hdus["ERR"].data), weight == 0)


def test_magnitude_and_place_of_a_star_from_both_cameras(tmp_path):
    """The header alone gives a bright star's AB magnitude to 0.02 and its sky position."""
    cameras = (hubble(["F606W", "F814W"], 14.0).moved((0.3, -0.2)), webb(["F150W", "F444W"], 350))
    bands = cameras[0].bands + cameras[1].bands
    flux = np.array([3e5, 5e5, 8e5, 2e5])
    star = Source("star", 0.31, -0.22, float("nan"), flux)
    scene = Scene(bands, SKY, (star,), float("nan"))
    truth = write_truth(scene, cameras, tmp_path / "truth.ecsv", {})
    row = Table.read(truth)[0]
    for camera, error in zip(cameras, ((0.3, -0.2), (0.0, 0.0)), strict=True):
        for path in write_exposure(expose(scene, camera, 0), tmp_path):
            with fits.open(path) as hdus:
                header, data = hdus["SCI"].header, np.nan_to_num(hdus["SCI"].data.astype(float))
            cosine = np.cos(np.radians(row["dec"]))
            x, y = WCS(header).world_to_pixel_values(
                row["ra"] + error[0] / 3600 / cosine, row["dec"] + error[1] / 3600
            )
            rows, cols = np.indices(data.shape)
            total = data[np.hypot(rows - y, cols - x) < 6.0 / camera.pixel_scale].sum()
            magnitude = zeropoint(header) - 2.5 * np.log10(total)
            assert magnitude == pytest.approx(row[f"mag_{header['FILTER']}"], abs=0.02)
            near = np.hypot(rows - y, cols - x) < 3
            core = np.where(near, data - data[near].min(), 0)
            found = (core * cols).sum() / core.sum(), (core * rows).sum() / core.sum()
            assert found == pytest.approx((float(x), float(y)), abs=0.1)


def test_noise_matches_the_error_plane(pair):
    """(data − clean)/rms has mean 0 and variance 1 over the pixels that were seen."""
    camera = webb(["F150W", "F444W"], 200)
    scene = Scene(camera.bands, SKY, (), float("nan"))
    exposure = expose(scene, camera, 9)
    score = (exposure.data - exposure.clean) / exposure.rms
    seen = np.isfinite(score)
    assert score[seen].mean() == pytest.approx(0, abs=0.03)
    assert score[seen].std() == pytest.approx(1, abs=0.03)


def test_seeds(tmp_path, pair):
    again = simulate(tmp_path / "again", pixels=160, seed=4)
    for a, b in zip((*pair.source, *pair.target), (*again.source, *again.target), strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert pair.truth.read_bytes() == again.truth.read_bytes()


def test_another_noise_seed_keeps_the_sky():
    camera = webb(["F150W"], 96)
    star = Source("star", 0.0, 0.0, float("nan"), np.array([1e3]))
    first = expose(Scene(camera.bands, SKY, (star,), float("nan")), camera, 0)
    second = first.again(1)
    np.testing.assert_array_equal(first.clean, second.clean)
    np.testing.assert_array_equal(first.rms, second.rms)
    assert np.nanstd(first.data - second.data) > np.nanmedian(first.rms)
    np.testing.assert_array_equal(first.again(0).data, first.data)


def test_noise_of_a_band_does_not_depend_on_the_others():
    alone, both = webb(["F444W"], 80), webb(["F150W", "F444W"], 80)
    data = [
        expose(Scene(camera.bands, SKY, (), float("nan")), camera, 2).data[-1]
        for camera in (alone, both)
    ]
    np.testing.assert_array_equal(*data)


def test_truth_and_headers_record_the_pointing_error(pair):
    table = Table.read(pair.truth)
    assert np.hypot(*pair.pointing_error) == pytest.approx(0.02)
    assert table.meta["source_pointing_error"] == pytest.approx(pair.pointing_error)
    assert {"ra", "dec", "kind", "redshift", "half_light_radius", "sersic_n"} < set(table.colnames)
    assert set(table["kind"]) == {"galaxy", "cluster", "bcg", "arc", "star"}
    assert np.isfinite(table["mag_F150W"]).all()
    history = " ".join(fits.getheader(pair.source[0])["HISTORY"])
    assert f"{pair.pointing_error[0]:+.5f}" in history


def test_progress_names_stages(tmp_path):
    seen: list[tuple[str, float]] = []
    simulate(
        tmp_path, pixels=64, density=10, cluster=False, progress=lambda *call: seen.append(call)
    )
    assert seen[0][0] == "Hubble"
    assert {s for s, _ in seen} == {"Hubble", "Webb", "done"}
    assert seen[-1] == ("done", 1.0)
    fractions = [f for _, f in seen]
    assert fractions == sorted(fractions)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pixels": 10}, "64"),
        ({"target_bands": ["F999W"]}, "F999W"),
        ({"source_bands": []}, "Hubble"),
        ({"density": -1.0}, "densities"),
        ({"star_density": -1.0}, "densities"),
        ({"seed": -1}, "seed"),
        ({"pointing_error": -0.1}, "pointing_error"),
    ],
)
def test_wrong_options_are_named_before_anything_is_written(tmp_path, options, named):
    with pytest.raises(ImgturboError, match=named):
        simulate(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ImgturboError, match="out"):
        simulate(tmp_path / "out", pixels=64)


def test_other_skies_lie_elsewhere(tmp_path):
    """The split by sky region would take two skies at one place for one sky."""
    places = []
    for seed in range(3):
        pair = simulate(tmp_path / str(seed), pixels=64, seed=seed, density=0, cluster=False)
        with fits.open(pair.target[0]) as file:
            wcs = WCS(file["SCI"].header)
        places.append(wcs.pixel_to_world(32, 32))
    for one, other in itertools.combinations(places, 2):
        assert one.separation(other).deg > 1
