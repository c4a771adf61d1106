"""Cut-outs round positions are parts of the translated whole: pixels, flags, coordinates, names."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from small_skies import noise_sky, rotated_wcs
from web_server import serving

from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_file, translate_positions
from imgturbo.mosaic.cutting import Axis, cover, cut
from imgturbo.sky import read_sky
from imgturbo.sky.catalogue import Positions, parse_size, read_positions
from imgturbo.sky.flags import Flag

SIZE = 211, 173
PLACES = [(20.2, 30.7), (100.1, 100.2), (100.4, 99.6), (170.9, 208.2), (2.0, 3.0), (86.3, 105.7)]


@pytest.fixture
def mosaic(make_fits):
    sky = noise_sky(2, *SIZE)
    wcs = rotated_wcs(*SIZE)
    return [
        make_fits(f"{band}.fits", plane, band, wcs=wcs)
        for band, plane in zip(("F606W", "F814W"), sky, strict=True)
    ]


def catalogue(path, places=PLACES, names=None, **columns):
    """A CSV of the places (x, y) on the mosaic."""
    where = rotated_wcs(*SIZE).pixel_to_world(*np.transpose(places))
    table = Table({"RA": where.ra.deg, "Dec": where.dec.deg, **columns})
    if names is not None:
        table["ID"] = names
    table.write(path, overwrite=True)
    return path


def whole(bundle, mosaic, tmp_path, **settings):
    translate_file(bundle, mosaic, tmp_path / "whole.fits", **settings)
    return fits.open(tmp_path / "whole.fits")


def window_of(array, rows, cols, fill):
    """A window of an image that may reach beyond it."""
    wide = 400
    return np.pad(array, wide, constant_values=fill)[
        rows.start + wide : rows.stop + wide, cols.start + wide : cols.stop + wide
    ]


SETTINGS = [
    (31, {}),
    (44, {"window": 96}),
    (44, {"samples": 3, "quantiles": (0.3,), "keep_draws": True, "window": 96}),
    (31, {"ensemble": "flips"}),
    (30, {"match_sky": True}),
]


@pytest.mark.parametrize(("side", "settings"), SETTINGS, ids=str)
def test_every_pixel_is_that_of_the_translated_whole(make_bundle, mosaic, tmp_path, side, settings):
    bundle = make_bundle(noise=2) if "samples" in settings else make_bundle()
    table = catalogue(tmp_path / "c.csv")
    translate_positions(
        bundle, mosaic, table, f"{side}pix", tmp_path / "cut", folder=True, **settings
    )
    with whole(bundle, mosaic, tmp_path, **settings) as made:
        cutouts = cut(*np.transpose(PLACES), side, SIZE)
        for k, cutout in enumerate(cutouts):
            with fits.open(tmp_path / "cut" / f"{k + 1}.fits") as part:
                assert [hdu.name for hdu in part] == [hdu.name for hdu in made]
                for here, there in zip(part[1:], made[1:], strict=True):
                    fill = Flag.NEAR.value if here.name == "FLAGS" else np.nan
                    expected = window_of(there.data, cutout.rows, cutout.cols, fill)
                    np.testing.assert_allclose(here.data, expected, rtol=2e-5, atol=1e-6)


def test_coordinates_of_every_cutout_are_right(bundle, mosaic, tmp_path):
    table = catalogue(tmp_path / "c.csv")
    translate_positions(bundle, mosaic, table, "1.55arcsec", tmp_path / "cut", folder=True)
    wanted = read_positions(table).places
    for k, cutout in enumerate(cut(*np.transpose(PLACES), 31, SIZE)):
        header = fits.getheader(tmp_path / "cut" / f"{k + 1}.fits", "SCI")
        assert header["NAXIS1"] == 31
        x, y = WCS(header).world_to_pixel(wanted[k])
        assert abs(x - 15) <= 0.5
        assert abs(y - 15) <= 0.5
        found = x + cutout.cols.start, y + cutout.rows.start
        assert np.hypot(*np.subtract(found, PLACES[k])) < 0.05


def test_the_table_says_what_came_of_every_position(bundle, mosaic, tmp_path):
    places = [(60, 80), (60, 80), (-5, 100), (400, 400), (2, 209), (np.nan, 1)]
    names = ["NGC 1/a", "ngc 1/A", "c", "d", "e", "f"]
    table = catalogue(tmp_path / "c.csv", places, names)
    log = []
    summary = translate_positions(
        bundle, mosaic, table, "21pix", tmp_path / "cut", folder=True, log=log.append
    )
    said = Table.read(tmp_path / "cut" / "positions.ecsv")
    assert list(said["name"]) == names
    assert list(said["status"]) == ["whole", "whole", "edge", "off", "edge", "off"]
    assert list(said["file"]) == ["NGC_1_a.fits", "ngc_1_A-2.fits", "c.fits", "-", "e.fits", "-"]
    assert said["measured"][2] < 0.5
    assert summary.counts == {"whole": 2, "edge": 2, "off": 2}
    assert "2 off the image" in str(summary)
    assert log == ["2 of 6 positions are off the image"]
    with fits.open(tmp_path / "cut" / "c.fits") as part:
        assert part[0].header["CUTEDGE"]
        assert part[0].header["OBJECT"] == "c"
        outside = np.s_[:, :15]
        assert np.isnan(part["SCI"].data[outside]).all()
        assert (part["FLAGS"].data[outside] & Flag.NEAR == Flag.NEAR).all()


def test_one_file_holds_the_same_and_the_table(bundle, mosaic, tmp_path):
    table = catalogue(tmp_path / "c.csv", [*PLACES, (900.0, 0.0)])
    translate_positions(bundle, mosaic, table, "21pix", tmp_path / "cut", folder=True)
    translate_positions(bundle, mosaic, table, "21pix", tmp_path / "cut.fits")
    with fits.open(tmp_path / "cut.fits", checksum=True) as every:
        every.verify("exception")
        said = Table.read(every["POSITIONS"])
        assert list(said["extver"]) == [1, 2, 3, 4, 5, 6, 0]
        for k in range(1, len(PLACES) + 1):
            with fits.open(tmp_path / "cut" / f"{k}.fits") as part:
                pairs = [("F150W", ("SCI", 1)), ("F277W", ("SCI", 2)), ("FLAGS", "FLAGS")]
                for name, there in pairs:
                    np.testing.assert_array_equal(every[name, k].data, part[there].data)
                    assert every[name, k].header["CRPIX1"] == part[there].header["CRPIX1"]
                    assert every[name, k].header.get("BUNIT") == part[there].header.get("BUNIT")
    assert read_sky(tmp_path / "cut" / "1.fits").bands == ("F150W", "F277W")


def test_names_of_any_letters_make_files_of_fits(bundle, make_fits, tmp_path):
    """Of files and of positions: FITS has ASCII alone, in cards and in tables."""
    planes = zip(noise_sky(2, 40, 44), ("F606W", "F814W"), strict=True)
    wcs = rotated_wcs(40, 44)
    files = [make_fits(f"ä {band}\nα.fits", plane, band, wcs=wcs) for plane, band in planes]
    for path in files:
        fits.setval(path, "OBJECT", value="M51")
    made = translate_file(bundle, files, tmp_path / "é.fits")
    with fits.open(made, checksum=True) as hdus:
        assert "? F814W??.fits" in str(hdus["SCI"].header["HISTORY"])
        assert hdus[0].header["OBJECT"] == "M51"
    ra, dec = wcs.wcs_pix2world([[20, 20]], 0)[0]
    table = tmp_path / "é.csv"
    table.write_text(f"name,ra,dec\né α,{ra},{dec}\n")
    translate_positions(bundle, files, table, "9pix", tmp_path / "é_cut.fits")
    assert list(Table.read(tmp_path / "é_cut.fits", "POSITIONS")["name"]) == ["e U03B1"]


def test_a_folder_goes_on_where_it_was_left(bundle, mosaic, tmp_path):
    table = catalogue(tmp_path / "c.csv")
    job = (bundle, mosaic, table, "21pix", tmp_path / "cut")
    translate_positions(*job, folder=True)
    content = {p.name: p.read_bytes() for p in (tmp_path / "cut").glob("*.fits")}
    said = (tmp_path / "cut" / "positions.ecsv").read_text()
    (tmp_path / "cut" / "3.fits").unlink()
    kept = (tmp_path / "cut" / "1.fits").stat().st_mtime_ns
    translate_positions(*job, folder=True)
    assert (tmp_path / "cut" / "1.fits").stat().st_mtime_ns == kept
    with fits.open(tmp_path / "cut" / "3.fits") as again, fits.open(tmp_path / "cut" / "1.fits"):
        (tmp_path / "old.fits").write_bytes(content["3.fits"])
        with fits.open(tmp_path / "old.fits") as before:
            np.testing.assert_allclose(again[1].data, before[1].data, rtol=1e-5)
    assert (tmp_path / "cut" / "positions.ecsv").read_text() == said
    with pytest.raises(ImgturboError, match=r"1\.fits: exists, and is of another job"):
        translate_positions(*job[:3], "23pix", tmp_path / "cut", folder=True)
    translate_positions(*job[:3], "23pix", tmp_path / "cut", folder=True, overwrite=True)
    assert fits.getheader(tmp_path / "cut" / "1.fits", 1)["NAXIS1"] == 23


def test_a_grid_of_another_file_is_cut_as_well(bundle, mosaic, make_fits, tmp_path):
    other = rotated_wcs(150, 140, angle=10.0)
    grid = make_fits("grid.fits", np.ones((150, 140), np.float32), wcs=other)
    place = other.pixel_to_world(60.0, 70.0)
    positions = Positions(["a"], SkyCoord([place]))
    job = bundle, mosaic, positions, "21pix", tmp_path / "cut"
    translate_positions(*job, grid=grid, folder=True)
    with whole(bundle, mosaic, tmp_path, grid=grid) as made:
        expected = made[1].data[60:81, 50:71]
        found = fits.getdata(tmp_path / "cut" / "a.fits", 1)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_a_remote_mosaic_gives_the_same_cutouts(bundle, mosaic, tmp_path):
    table = catalogue(tmp_path / "c.csv")
    translate_positions(bundle, mosaic, table, "21pix", tmp_path / "here.fits")
    with serving(tmp_path) as web:
        far = [web.url(path.name) for path in mosaic]
        translate_positions(bundle, far, web.url("c.csv"), "21pix", tmp_path / "there.fits")
    with fits.open(tmp_path / "here.fits") as here, fits.open(tmp_path / "there.fits") as there:
        assert len(here) == len(there)
        for a, b in zip(here[1:-1], there[1:-1], strict=True):
            np.testing.assert_array_equal(a.data, b.data)
        assert "remote" in str(there[0].header["HISTORY"])


# ----------------------------------------------------------------------------------- windows


@given(data=st.data())
def test_windows_cover_what_cutouts_depend_on(data):
    stride = data.draw(st.sampled_from([1, 2, 4, 6]))
    zoom = data.draw(st.sampled_from([Fraction(1), Fraction(2), Fraction(3, 2), Fraction(1, 2)]))
    length = data.draw(st.integers(1, 300))
    halo = data.draw(st.integers(0, 20))
    side = data.draw(st.integers(1, 120))
    most = max(4 * halo + 8 * stride, data.draw(st.integers(1, 200)))
    axis = Axis(length, side, halo, stride, most, zoom)
    out = int(length * zoom)
    if not out:
        return
    first = data.draw(st.integers(-side + 1, out - 1))
    low, high = max(0, first), min(out, first + side)
    place = low
    shapes = set()
    for seen, core in axis.extents(low, high):
        assert seen.start % stride == 0
        assert 0 <= seen.start <= core.start < core.stop <= seen.stop <= length
        assert core.start == 0 or core.start - seen.start >= halo
        assert core.stop == length or seen.stop - core.stop >= halo
        assert core.start * zoom <= place
        place = core.stop * zoom
        shapes.add((seen.stop - seen.start) // stride)
    assert place >= high or core.stop == length
    assert len(shapes) <= 2


def test_positions_beside_each_other_share_a_window_and_others_their_shape():
    x, y = np.array([50.0, 50.4, 500.0]), np.array([60.0, 60.3, 700.0])
    cutouts = cut(x, y, 20, (1000, 1000))
    axes = [Axis(1000, 20, 16, 4, 256, Fraction(1)) for _ in range(2)]
    windows = cover(cutouts, *axes)
    assert len(windows) == 2
    assert len({window.shape for window in windows}) == 1
    assert [cutout.windows for cutout in cutouts] == [[0], [0], [1]]


# --------------------------------------------------------------------------------- catalogues

HERE = SkyCoord([83.63308, 10.5], [22.01446, -5.25], unit="deg")


@pytest.mark.parametrize(
    ("columns", "suffix"),
    [
        ({"ra": HERE.ra.deg, "dec": HERE.dec.deg}, ".csv"),
        ({"RAJ2000": HERE.ra.deg, "DEJ2000": HERE.dec.deg, "z": [1, 2]}, ".fits"),
        ({"ALPHA_J2000": HERE.ra.deg, "DELTA_J2000": HERE.dec.deg}, ".vot"),
        ({"ra": HERE.ra.hourangle * u.hourangle, "dec": HERE.dec.rad * u.rad}, ".ecsv"),
        ({"ra": HERE.ra.to_string("h", sep=":", precision=6),
          "dec": HERE.dec.to_string("deg", sep=":", precision=6)}, ".csv"),
        ({"RA": HERE.ra.to_string("h", precision=6), "DEC": HERE.dec.to_string("deg", precision=6)},
         ".fits"),
        ({"position": HERE.galactic}, ".ecsv"),
    ],
    ids=["csv", "fits", "votable", "units", "colons", "hms", "skycoord"],
)  # fmt: skip
def test_positions_are_read_in_the_usual_spellings(tmp_path, columns, suffix):
    path = tmp_path / f"c{suffix}"
    kind = {"format": "votable"} if suffix == ".vot" else {}
    Table({**columns, "source_id": [2**60 + 1, 7]}).write(path, **kind)
    found = read_positions(path)
    assert found.places.separation(HERE).max() < 0.001 * u.arcsec
    assert list(found.names) == [str(2**60 + 1), "7"]


def test_rows_without_a_position_or_a_name_are_kept(tmp_path):
    (tmp_path / "c.csv").write_text("name,ra,dec\na,1.5,2.5\n,,\nb,3,4\n")
    found = read_positions(tmp_path / "c.csv")
    assert list(found.names) == ["a", "2", "b"]
    assert np.isnan(found.places.ra.deg).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,y\n1,2\n", "has no columns of right ascension and declination (there are x, y)"),
        ("ra,dec\n", "has no rows"),
        ("ra,dec\n1,222\n", "row 1: a declination of 222"),
        ("ra,dec\nhello,2\n", "is not understood"),
        ("", "has no rows"),
        ("ra,dec\n1,2,3\n", "is no table"),
    ],
)
def test_a_table_that_is_none_is_one_line(tmp_path, text, words):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ImgturboError) as error:
        read_positions(tmp_path / "c.csv")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["10", "10 parsec", "-3arcsec", "arcsec", "0pix", "1e400arcsec"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(ImgturboError, match="such as 10arcsec"):
        parse_size(text)


def test_sizes_may_be_angles():
    assert parse_size(0.5 * u.arcmin) == parse_size("30arcsec") == parse_size('30"') == (30, False)
    assert parse_size(64 * u.pix) == (64, True)
    with pytest.raises(ImgturboError, match="such as 10arcsec"):
        parse_size(3 * u.kg)


# --------------------------------------------------------------------------------- bad input


def test_what_cannot_be_cut_is_one_line(bundle, mosaic, make_fits, tmp_path):
    table = catalogue(tmp_path / "c.csv")

    def refused(words, paths=mosaic, where=table, size="21pix", out="x.fits", **more):
        with pytest.raises(ImgturboError) as error:
            translate_positions(bundle, paths, where, size, tmp_path / out, **more)
        assert words in str(error.value)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "x.fits").exists()

    far = catalogue(tmp_path / "far.csv", [(5000.0, 1.0), (-900.0, 2.0)])
    refused("none of its 2 positions lies in", where=far)
    refused("no such file; name a table", where=tmp_path / "none.csv")
    refused("is 4000 pixels", size="4000pix")
    refused("are written as .fits", out="x.png")
    refused("this network, or --overlap, does not allow that", overlap=0, window=64)
    plain = [make_fits(f"p{b}.fits", np.ones(SIZE, np.float32), b) for b in ("F606W", "F814W")]
    refused("has no celestial WCS", paths=plain)
    refused("is one of the inputs", out=mosaic[0].name, overwrite=True)
    with pytest.raises(ImgturboError, match="s3://x/y: is an address"):
        translate_positions(bundle, mosaic, table, "21pix", "s3://x/y")


def test_more_cutouts_than_a_file_takes_need_a_folder(bundle, mosaic, tmp_path):
    places = np.random.default_rng(0).uniform(10, 150, (3400, 2))
    table = catalogue(tmp_path / "c.csv", places)
    with pytest.raises(ImgturboError, match="name a folder"):
        translate_positions(bundle, mosaic, table, "5pix", tmp_path / "x.fits")


def test_the_command_line(bundle, mosaic, tmp_path, capsys):
    from imgturbo.cli.main import main

    def run(*more):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in ("translate", "--bundle", bundle.path, *mosaic, *more)])
        return ended.value.code, capsys.readouterr()

    table = catalogue(tmp_path / "c.csv", [*PLACES, (900.0, 0.0)])
    out = tmp_path / "x.fits"
    code, said = run("--positions", table, "--size", "1arcsec", "--out", out)
    assert code == 0
    assert f"{out}: 7 positions: 4 whole, 2 cut off by the edge of the image, 1 off" in said.out
    assert fits.getdata(out, ("F150W", 1)).shape == (20, 20)
    code, said = run("--positions", table, "--out", tmp_path / "y.fits")
    assert code == 2
    assert "--size" in said.err
