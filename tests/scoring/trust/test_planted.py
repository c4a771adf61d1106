"""Errors that were planted in a prediction are found within what is stated of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS
from trust_standins import (
    BANDS,
    NOISE,
    SCALE,
    SIGMA,
    SIZE,
    fluxes_of,
    painted,
    places,
    sky,
    wcs,
)  # fmt: skip

from imgturbo.errors import ImgturboError
from imgturbo.scoring.trust.folder import _marks, write_report
from imgturbo.scoring.trust.light import photometry
from imgturbo.scoring.trust.points import points
from imgturbo.scoring.trust.report import Findings, look_at
from imgturbo.scoring.trust.scene import bring_together
from imgturbo.scoring.trust.sources import catalogue_of, recovery
from imgturbo.scoring.trust.structure import structure
from imgturbo.sky.frames import icrs

WHERE = places()
FLUXES = fluxes_of(len(WHERE))
TRUTH = sky(painted(WHERE, FLUXES))
SOURCE = sky(painted(WHERE, FLUXES[:, :1] * [[0.6, 0.9]], 1.6), 2 * NOISE, 3, ("F606W", "F814W"))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "truth.ecsv"
    ra, dec = wcs().pixel_to_world_values(*WHERE.T)
    Table({"ra": ra, "dec": dec, "kind": ["star"] * len(ra)}).write(path)
    return path


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """Statmorph takes a third of a second a source; a test that is about it asks for it."""
    if "by_statmorph" not in request.fixturenames:
        monkeypatch.setattr("imgturbo.scoring.trust.points.can_measure", lambda: False)


@pytest.fixture
def by_statmorph(monkeypatch):
    pytest.importorskip("statmorph", reason="extra morphology")
    monkeypatch.setattr("imgturbo.scoring.trust.points._BY_STATMORPH", 4)


def within(found, planted, errors=4.0, floor=1e-3):
    return abs(found["value"] - planted) < errors * (found["error"] or 0.0) + floor


def several(rows):
    return [row for row in rows if row["ratio"]["n"] > 3]


def test_a_bias_of_five_per_cent(catalogue):
    scene = bring_together(sky(1.05 * painted(WHERE, FLUXES), 0.3 * NOISE, 5), TRUTH, SOURCE)
    true, _ = catalogue_of(scene, catalogue)
    found = photometry(scene, true)
    for band in BANDS:
        rows = found["bands"][band]
        assert len(rows["by_input"]) > 8
        bright = [row for row in several(rows["by_truth"]) if row["to"] <= 24]
        assert len(bright) > 4
        assert all(within(row["ratio"], 1.05, floor=0.01) for row in bright)
        assert within(rows["total"], 1.05, floor=0.02)
        assert abs(rows["sky"]["in_sigma"]) < 0.2
    colour = found["colours"]["F150W-F277W"]
    assert within(colour["bias"], 0.0, floor=0.01)
    assert found["aperture"] == pytest.approx(0.4)


def test_a_bias_of_one_band_is_one_of_colour(catalogue):
    made = painted(WHERE, FLUXES * [1.1, 1.0])
    scene = bring_together(sky(made, 0.3 * NOISE, 5), TRUTH, SOURCE)
    found = photometry(scene, catalogue_of(scene, catalogue)[0])
    assert within(found["colours"]["F150W-F277W"]["bias"], -2.5 * math.log10(1.1), floor=0.01)


def test_a_shift_and_a_width(catalogue):
    made = painted(WHERE + np.array([0.2, 0.0]), FLUXES, 1.2 * SIGMA)
    scene = bring_together(sky(made, 0.3 * NOISE, 5), TRUTH)
    true, _ = catalogue_of(scene, catalogue)
    found = points(scene, true)
    assert found["unit"] == "mas"
    for band in BANDS:
        stars = found["stars"][band]
        assert stars["n"] > 30
        assert within(stars["offset_x"], 0.2 * 1000 * SCALE, floor=0.4)
        assert within(stars["offset_y"], 0.0, floor=0.4)
        # Fitted widths are those before the pixel, 1/12 of variance wide.
        expected = math.sqrt(((1.2 * SIGMA) ** 2 - 1 / 12) / (SIGMA**2 - 1 / 12))
        assert within(stars["fwhm_ratio"], expected, floor=0.01)
        assert within(stars["r50_ratio"], 1.2, floor=0.03)


def test_stars_are_told_by_their_width_where_nobody_tells():
    wide = np.arange(len(WHERE)) % 2 == 0
    image = painted(WHERE[~wide], FLUXES[~wide]) + painted(WHERE[wide], FLUXES[wide], 2.2)
    scene = bring_together(sky(image, 0.3 * NOISE, 5), sky(image))
    true, _ = catalogue_of(scene)
    found = points(scene, true)["stars"]["F150W"]
    expected = 1000 * SCALE * 2.3548 * math.sqrt(SIGMA**2 - 1 / 12)
    assert found["n"] > 20
    assert found["fwhm"]["value"] == pytest.approx(expected, rel=0.03)
    assert points(scene, true)["galaxies"]["F150W"]["n"] > 20


def test_galaxies_that_are_too_broad_are_found_too_smooth(by_statmorph):
    wide = painted(WHERE, FLUXES, 2.2)
    scene = bring_together(sky(painted(WHERE, FLUXES, 2.6), 0.3 * NOISE, 5), sky(wide))
    true, _ = catalogue_of(scene)
    true = replace(true, star=np.zeros(len(true), bool))
    found = points(scene, true)["galaxies"]["F150W"]
    assert found["sersic_n"]["true"]["value"] == pytest.approx(0.5, abs=0.1)  # Gaussians
    assert abs(found["sersic_n"]["bias"]["value"]) < 0.1
    assert found["gini"]["bias"]["value"] < 0  # the light is spread over more pixels
    assert abs(found["ellipticity"]["bias"]["value"]) < 0.03
    assert 2 <= found["gini"]["bias"]["n"] <= 4  # of four that are asked for


def test_without_statmorph_nothing_is_said_of_shapes():
    scene = bring_together(TRUTH, TRUTH)
    found = points(scene, catalogue_of(scene)[0])["galaxies"]["F150W"]
    assert {found[name] for name in ("sersic_n", "gini", "m20", "asymmetry")} == {None}
    assert any("imgturbo[morphology]" in note for note in scene.notes)


def test_missed_and_invented_sources(catalogue):
    bright = FLUXES[:, 0] > 40 * NOISE
    random = np.random.default_rng(7)
    missed = bright & (random.random(len(WHERE)) < 0.1)
    more = places(seed=11)[:12] + 12  # between the others
    image = painted(WHERE[~missed], FLUXES[~missed]) + painted(more, np.full((12, 2), 8.0))
    scene = bring_together(sky(image, 0.3 * NOISE, 5), TRUTH)
    true, found = catalogue_of(scene, catalogue)
    result = recovery(scene, true, found)
    lost = bright & ~true.matched
    assert (lost == missed).mean() > 0.98
    assert result["invented"] == pytest.approx(12, abs=2)
    rate = result["invented_per_arcmin2"]
    assert rate["value"] == pytest.approx(result["invented"] / scene.area)
    assert within(rate, 12 / scene.area, 1.0)
    for band in BANDS:
        rows = result["bands"][band]
        counted = sum(row["n"] for row in rows["completeness"])
        assert counted == pytest.approx(len(WHERE), abs=6)  # faint ones may have no magnitude
        share = sum(row["n"] * row["share"] for row in rows["completeness"][:8])
        among = sum(row["n"] for row in rows["completeness"][:8])
        assert share / among == pytest.approx(1 - missed.sum() / bright.sum(), abs=0.05)
        pure = sum(row["n"] * (1 - row["share"]) for row in rows["purity"])
        assert pure == result["invented"]


def test_what_the_source_image_shows_by_itself_is_the_baseline(catalogue):
    """A source image that lacks some of the bright sources and has others of its own."""
    bright = FLUXES[:, 0] > 40 * NOISE
    lacks = bright & (np.random.default_rng(8).random(len(WHERE)) < 0.3)
    more = places(seed=11)[:9] + 12  # between the others
    seen = painted(WHERE[~lacks], FLUXES[~lacks]) + painted(more, np.full((9, 2), 8.0))
    whole = sky(painted(WHERE, FLUXES), seed=9)
    scene = bring_together(whole, TRUTH, sky(seen, 0.3 * NOISE, 5, ("F606W", "F814W")))
    true, found = catalogue_of(scene, catalogue)
    assert (~true.shown[bright] == lacks[bright]).mean() > 0.98
    given = recovery(scene, true, found)["source"]
    assert given["invented"] == pytest.approx(9, abs=2)
    assert given["matched"] == true.shown.sum() == given["found"] - given["invented"]
    rows = given["bands"]["F150W"]["completeness"][:6]
    among = sum(row["n"] for row in rows)
    share = sum(row["n"] * row["share"] for row in rows) / among
    assert share == pytest.approx(1 - lacks.sum() / bright.sum(), abs=0.06)
    without = bring_together(whole, TRUTH)
    assert recovery(without, *catalogue_of(without, catalogue))["source"] is None


def test_truth_itself_is_complete_pure_and_coherent():
    again = sky(painted(WHERE, FLUXES), seed=9)
    scene = bring_together(again, TRUTH)
    true, found = catalogue_of(scene)
    result = recovery(scene, true, found)
    assert result["matched"] / result["true"] > 0.97
    assert result["invented"] <= 0.02 * result["found"]
    rows = structure(scene)["bands"]["F150W"]
    assert np.nanmean([np.nan if v is None else v for v in rows["coherence"][:10]]) > 0.9


def test_a_blurred_prediction_lacks_power_at_small_scales():
    scene = bring_together(sky(painted(WHERE, FLUXES, 1.5 * SIGMA), 0.0), TRUTH)
    found = structure(scene)
    assert found["unit"] == "cycles/arcsec"
    ratio = np.array([np.nan if v is None else v for v in found["bands"]["F150W"]["power_ratio"]])
    known = np.flatnonzero(np.isfinite(ratio))
    assert ratio[known[-1]] < 0.5 * ratio[known[1]]


def test_bins_of_the_input_are_honest_where_bins_of_the_truth_cannot_be(catalogue):
    """A prediction that is the regression of the truth: R is 1 by input, and pulled by truth."""
    random = np.random.default_rng(3)
    of_input = fluxes_of(len(WHERE), seed=5)
    true = of_input * random.lognormal(-0.5 * 0.5**2, 0.5, of_input.shape)
    scene = bring_together(
        sky(painted(WHERE, of_input), 0.1 * NOISE, 4),
        sky(painted(WHERE, true), 0.1 * NOISE, 6),
        sky(painted(WHERE, of_input), 0.1 * NOISE, 8, ("F606W", "F814W")),
    )
    rows = photometry(scene, catalogue_of(scene, catalogue)[0])["bands"]["F150W"]
    inputs = [row["ratio"] for row in several(rows["by_input"])]
    assert np.mean([within(row, 1.0, 3.0, 0.02) for row in inputs]) > 0.85
    by_truth = rows["by_truth"]
    assert by_truth[0]["ratio"]["value"] < 0.9  # the brightest are the lucky ones
    limits = {row["from"]: row["ratio"]["value"] for row in rows["by_truth_ceiling"]}
    apart = [abs(limits[r["from"]] - r["ratio"]["value"]) for r in by_truth if r["from"] in limits]
    assert np.median(apart) < 0.1


def galactic():
    """The field on coordinates of the Milky Way, latitude first."""
    found = WCS(naxis=2)
    found.wcs.ctype = ["GLAT-TAN", "GLON-TAN"]
    found.wcs.crval, found.wcs.crpix = [-41.0, 120.0], [SIZE / 2, SIZE / 2]
    found.wcs.cdelt = [SCALE / 3600, -SCALE / 3600]
    found.array_shape = SIZE, SIZE
    return found


@pytest.mark.parametrize("form", ["degrees", "words"])
def test_a_catalogue_lies_where_it_does_whatever_the_image_is_drawn_on(tmp_path, form):
    scene = bring_together(replace(TRUTH, wcs=galactic()), replace(TRUTH, wcs=galactic()))
    places = SkyCoord(*icrs(galactic(), *WHERE.T), unit="deg")
    ra, dec = places.ra.deg, places.dec.deg
    if form == "words":
        ra = places.ra.to_string("hourangle", sep=":", precision=6)
        dec = places.dec.to_string(sep=":", precision=6)
    kinds = np.array([b"star", b"galaxy"] * len(ra))[: len(ra)]
    path = tmp_path / "c.fits"
    Table({"RA": ra, "Dec": dec, "kind": kinds}).write(path)
    true, found = catalogue_of(scene, path)
    np.testing.assert_allclose(np.stack([true.x, true.y], 1), WHERE, atol=1e-3)
    assert true.star.tolist() == [kind == b"star" for kind in kinds]
    columns, marks = _marks(Findings({}, scene, true, found, None, None, None))
    assert columns[:5] == ["class", "x", "y", "RA", "Dec"]
    assert len(marks) >= len(true)
    for mark in marks:
        there = [float(cell) for cell in mark.cells[3:5]]
        np.testing.assert_allclose(there, icrs(galactic(), mark.x, mark.y), atol=1e-5)


def test_sizes_are_measured_in_the_same_band_whatever_its_unit(catalogue):
    """A band whose zero point is another has other numbers, and the same sources over noise."""
    loud = np.array([1000.0, 1.0], np.float32)[:, None, None]
    zeros = (TRUTH.zeropoints[0] + 7.5, TRUTH.zeropoints[1])
    scaled = replace(TRUTH, data=TRUTH.data * loud, zeropoints=zeros)
    found = []
    for truth in (TRUTH, scaled):
        scene = bring_together(truth, truth)
        rows = photometry(scene, catalogue_of(scene, catalogue)[0])["bands"]["F150W"]["by_size"]
        found.append([row["from"] for row in rows])
    assert found[0]
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_an_empty_cell_is_no_place(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("x,y\n0,0\n,3\n5,\n7,8\n")
    true, _ = catalogue_of(bring_together(TRUTH, TRUTH), path)
    assert np.stack([true.x, true.y], 1).tolist() == [[0, 0], [7, 8]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0]}, "give ra and dec"),
        ({"x": [-50.0], "y": [3.0]}, "none of its 1 sources"),
        ({"x": ["left"], "y": [3.0]}, "column x holds no numbers"),
        ({"ra": ["left"], "dec": [3.0]}, "table.csv: is not understood"),
    ],
)
def test_tables_that_are_no_catalogues(tmp_path, columns, message):
    path = tmp_path / "table.csv"
    Table(columns).write(path)
    scene = bring_together(TRUTH, TRUTH)
    with pytest.raises(ImgturboError, match=message):
        catalogue_of(scene, path)


def test_a_catalogue_without_a_truth_image_tells_what_is_real(tmp_path, catalogue):
    """Purity by predicted magnitude; completeness in numbers, since nobody knows magnitudes."""
    more = places(seed=11)[:12] + 12
    image = painted(WHERE[1:], FLUXES[1:]) + painted(more, np.full((12, 2), 8.0))
    findings = look_at(sky(image, NOISE, 5), catalogue=catalogue)
    found = findings.numbers["sources"]
    assert found["true"] == len(WHERE)
    assert found["invented"] == pytest.approx(12, abs=2)
    for rows in found["bands"].values():
        assert sum(row["n"] for row in rows["purity"]) > 100
        assert (rows["completeness"], rows["complete_to"], rows["depth"]) == ([], None, None)
    assert findings.numbers["photometry"] is None
    assert any("a catalogue and no truth image" in note for note in findings.numbers["notes"])
    assert write_report(findings, tmp_path / "report", "a catalogue alone").exists()


def test_without_a_truth_there_are_sources_and_no_judgement():
    scene = bring_together(TRUTH)
    true, found = catalogue_of(scene)
    assert true is None
    assert len(found) > 150
    assert "there is no truth" in scene.notes[0]
