"""The division to the pixel: how much is held out, how far apart, what other fields avoid."""

from __future__ import annotations

import warnings
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from astropy.wcs import WCS
from sky_grids import tangent

from data_prep import split
from data_prep.split import Areas, FieldSky, Rect, divide, exclusion, guarded
from imgturbo.config import SplitConfig
from imgturbo.errors import ImgturboError


def field(name="a", shape=(40, 40), valid=None, **options):
    mask = np.ones(shape, bool) if valid is None else valid
    return FieldSky(name, options.pop("kind", "pair"), mask, **options)


def held(areas):
    return sum(bool(area.validation) for area in areas)


# ------------------------------------------------------------------------------ what is held out


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.01, 1), (0.24, 2), (0.25, 3), (0.27, 3), (0.34, 3), (0.99, 9)]
)
def test_the_number_held_out_is_the_nearest_to_the_fraction(fraction, expected):
    """Of ten equal fields round(10 f), a half upwards; at least one, and one is left."""
    fields = [field(f"f{i}") for i in range(10)]
    assert held(divide(fields, SplitConfig(method="field", fraction=fraction), 8)) == expected


def test_where_every_field_is_too_much_the_smallest_is_held_out():
    shapes = [(40, 40), (41, 37), (23, 31), (80, 60)]
    fields = [field(f"f{i}", shape) for i, shape in enumerate(shapes)]
    areas = divide(fields, SplitConfig(method="field", fraction=0.01), 8)
    assert [bool(area.validation) for area in areas] == [False, False, True, False]


def test_of_two_fields_one_is_held_out_and_of_one_none():
    config = SplitConfig(method="field", fraction=0.5)
    assert held(divide([field("a"), field("b")], config, 8)) == 1
    assert held(divide([field("a")], config, 8)) == 0


@pytest.mark.parametrize(
    ("shape", "block", "fraction", "side"),
    [
        ((64, 64), 4, 0.25, 32),  # four blocks: a quarter is one of them
        ((64, 64), 4, 0.24, 16),  # more than four are needed
        ((64, 32), 4, 0.25, 16),
        ((64, 32), 4, 1 / 32, 8),
        ((64, 32), 7, 1 / 64, 8),  # never smaller than a tile
    ],
)
def test_blocks_are_halved_until_one_is_no_more_than_the_fraction(shape, block, fraction, side):
    (area,) = divide([field(shape=shape)], SplitConfig(fraction=fraction, block=block), 8)
    assert {(r.y1 - r.y0, r.x1 - r.x0) for r in area.validation} == {(side, side)}
    assert {edge % side for rect in area.validation for edge in rect} == {0}
    expected = max(1, round(fraction * shape[0] * shape[1] / side**2))
    assert len(area.validation) == expected


def test_blocks_need_not_be_measured_whole_but_somewhere():
    """Of a picture with every other pixel missing the same blocks are held out."""
    config = SplitConfig(fraction=0.3, block=1)
    chess = np.indices((64, 80)).sum(0) % 2 == 0
    (whole,), (half,) = (divide([field(valid=v)], config, 16) for v in (chess | True, chess))
    assert half == whole
    west = np.zeros((64, 80), bool)
    west[:, :32] = True
    (area,) = divide([field(valid=west)], config, 16)
    assert len(area.validation) == 2  # of eight
    assert all(rect.x1 <= 32 for rect in area.validation)


def test_the_order_depends_on_the_place_in_the_sky_alone():
    """Not on the grid: rectangles with one middle have one hash, whatever their pixels are."""
    first, second = tangent((41, 61), 1.0), tangent((30, 20), 2.0, 180.0)
    one = split._hash(field(shape=(41, 61), wcs=first), Rect(16, 25, 24, 37))
    two = split._hash(field("b", (30, 20), wcs=second), Rect(9, 21, 7, 13))
    assert one == two
    moved = tangent((41, 61), 1.0, dec=2.2003)
    assert split._hash(field(shape=(41, 61), wcs=moved), Rect(16, 25, 24, 37)) != one


def test_rows_are_those_of_the_target_file_and_cover_all_that_they_touch():
    def rows(first, last, height, scale=1.0):
        (area,) = divide(
            [field(shape=(height, 6), scale=scale)],
            SplitConfig(method="rows", rows=(first, last)),
            8,
        )
        return area

    assert rows(3, 5, 20, 1.5).validation == (Rect(4, 8, 0, 6),)
    assert rows(37, 71, 50).validation == (Rect(37, 50, 0, 6),)
    bottom = rows(0, 5, 20)
    assert (bottom.validation, bottom.train) == ((Rect(0, 5, 0, 6),), (Rect(5, 20, 0, 6),))
    top = rows(15, 20, 20)
    assert (top.validation, top.train) == ((Rect(15, 20, 0, 6),), (Rect(0, 15, 0, 6),))
    assert rows(0, 20, 20).train == ()
    with pytest.raises(ImgturboError, match=r"\[50, 70\) but the target has 50 rows"):
        rows(50, 70, 100, 2.0)


# --------------------------------------------------------------------------------- how far apart


@pytest.mark.parametrize(
    ("band", "guard"),
    [
        *((65, 32), (64, 32), (63, 16), (32, 16), (31, 8), (16, 8), (15, 4), (8, 4), (7, 2)),
        *((4, 2), (3, 1), (2, 1), (1, 0)),
    ],
)
def test_the_guard_is_the_largest_power_of_two_that_leaves_half(band, guard):
    """One row is held out between two bands of training: of each ``band - guard`` are left."""
    fields = [field(shape=(2 * band + 1, 5))]
    areas = divide(fields, SplitConfig(method="rows", rows=(band, band + 1)), 8)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found, (mask,) = guarded(fields, areas, None)
    assert found == guard
    assert np.array_equal(np.flatnonzero(~mask.any(1)), np.flatnonzero(~mask.all(1)))
    assert (~mask[:, 0]).sum() == 2 * (band - guard)
    text = f"are {guard} pixels apart (in larger ones 32)"
    assert [text in str(w.message) for w in said] == [True] * (guard < 32)


def test_half_of_the_training_sky_is_half_of_what_was_measured():
    valid = np.ones((129, 7), bool)
    valid[:32] = valid[-32:] = False  # of each band 32 rows are left, and half of them by 16
    fields = [field(valid=valid), field("b", (50, 50))]
    areas = [Areas((Rect(0, 64, 0, 7), Rect(65, 129, 0, 7)), (Rect(64, 65, 0, 7),))]
    with pytest.warns(UserWarning, match="16 pixels apart"):
        assert guarded(fields[:1], areas, None).guard == 16
    # A second field without validation keeps all of its sky; the loss is one of both together.
    both = [*areas, Areas((Rect(0, 50, 0, 50),), ())]
    assert guarded(fields, both, None).guard == 32


def test_a_field_keeps_the_guard_from_its_own_rectangles_exactly():
    areas = [Areas((), (Rect(5, 9, 12, 20), Rect(0, 2, 1, 3)))]
    mask = exclusion([field(shape=(30, 33))], areas, 0, 3)
    expected = np.zeros((30, 33), bool)
    expected[2:12, 9:23] = True
    expected[:5, :6] = True
    assert np.array_equal(mask, expected)


# ------------------------------------------------------------------------------- seen elsewhere


def shifted(wcs, dx, dy):
    moved = wcs.deepcopy()
    moved.wcs.crpix += [dx, dy]
    moved.wcs.set()
    return moved


def expected_mask(here, there, rect, margin):
    """Pixels whose centre lies in the rectangle, ``margin`` of its pixels around included.

    Returns also where the edge itself runs: a thousandth of a pixel decides nothing.
    """
    height, width = here.valid.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    with np.errstate(invalid="ignore"):
        u, v = there.wcs.world_to_pixel(here.wcs.pixel_to_world(x, y))
    across = np.minimum(u - (rect.x0 - 0.5 - margin), rect.x1 - 0.5 + margin - u)
    along = np.minimum(v - (rect.y0 - 0.5 - margin), rect.y1 - 0.5 + margin - v)
    inside = np.minimum(across, along)
    return inside > 0, np.abs(inside) < 1e-3


@pytest.mark.parametrize("torn", [20.0, 0.0])  # by its outline, or every pixel by itself
@pytest.mark.parametrize(
    ("scale", "angle", "shift"),
    [
        (0.05, 0.0, (0.1, 0.1)),
        (0.05, 0.0, (-0.1, -0.1)),
        (0.05, 0.0, (0.4, -0.4)),
        (0.05, 37.0, (3.3, -2.2)),
        (0.08, -61.0, (5.2, 4.1)),
        (0.031, 118.0, (-7.7, 9.9)),
    ],
)
def test_another_field_excludes_the_rectangle_and_its_guard_to_the_pixel(
    scale, angle, shift, torn, monkeypatch
):
    """The guard and one pixel more count in the coarser of the two grids."""
    monkeypatch.setattr(split, "_TORN", torn)
    monkeypatch.setattr(split, "_PIXELS", 700)  # several strips
    here = field(shape=(71, 83), wcs=shifted(tangent((71, 83), scale, angle), *shift))
    there = field("b", (90, 97), wcs=tangent((90, 97), 0.05))
    rect = Rect(31, 59, 40, 61)
    for guard in (0, 4):
        mask = exclusion([here, there], [Areas((), ()), Areas((), (rect,))], 0, guard)
        margin = (guard + 1) * max(1.0, scale / 0.05)
        expected, edge = expected_mask(here, there, rect, margin)
        assert 0 < expected.sum() < expected.size
        assert not ((mask != expected) & ~edge).any()


def test_strips_of_one_row_are_enough(monkeypatch):
    monkeypatch.setattr(split, "_TORN", 0.0)
    here = field(shape=(23, 31), wcs=tangent((23, 31), 0.05, 12.0))
    there = field("b", (40, 40), wcs=tangent((40, 40), 0.05))
    areas = [Areas((), ()), Areas((), (Rect(10, 22, 14, 29),))]
    whole = exclusion([here, there], areas, 0, 1)
    monkeypatch.setattr(split, "_PIXELS", 1)
    assert np.array_equal(exclusion([here, there], areas, 0, 1), whole)


def wide(kind, shape, step, lon=0.0):
    """A map of ``step`` degrees a pixel about (lon, 0)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{kind}", f"DEC--{kind}"]
    wcs.wcs.crval = [lon, 0.0]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-step, step]
    wcs.wcs.set()
    return wcs


def test_a_pixel_is_as_wide_as_the_other_map_shows_it_there():
    """A tangent plane stretches the sky by sec² θ away from its middle: at 45 degrees, twofold."""
    here = field(shape=(61, 141), wcs=wide("CAR", (61, 141), 1.0))
    there = field("b", (21, 181), wcs=wide("TAN", (21, 181), 1.0))
    at = 90 + np.degrees(np.tan(np.radians(45.0)))  # the column that sees −45 degrees
    for side in (at, 180 - at):
        column = round(side)
        rect = Rect(8, 13, column - 3, column + 4)
        assert split._stretch(here, there, rect) == pytest.approx(2.0, rel=0.02)
    assert split._stretch(here, there, Rect(8, 13, 88, 93)) == pytest.approx(1.0, rel=1e-3)
    # What is finer than the other's pixel counts as one of them.
    assert split._stretch(there, here, Rect(28, 33, 68, 73)) == 1.0


def test_where_the_rectangle_is_out_of_sight_the_middle_of_the_image_tells():
    """An all-sky map's middle is behind a tangent plane at 120 degrees."""
    here = field(shape=(21, 31), wcs=wide("TAN", (21, 31), 3.0, 120.0))
    there = field("b", (181, 361), wcs=wide("CAR", (181, 361), 1.0))
    assert split._stretch(here, there, Rect(0, 181, 0, 361)) == pytest.approx(3.0, rel=1e-2)


def test_where_neither_is_in_sight_the_areas_of_the_pixels_tell():
    """Two hemispheres, their middles 100 degrees apart; a corner of the one shows no sky."""
    here = field(shape=(41, 41), wcs=wide("SIN", (41, 41), 3.0, 100.0))
    there = field("b", (123, 123), wcs=wide("SIN", (123, 123), 1.0))
    corner = Rect(0, 5, 0, 5)
    assert split._stretch(here, there, corner) == pytest.approx(3.0)
    assert split._stretch(there, here, Rect(0, 2, 0, 2)) == 1.0


# --------------------------------------------------------------------------- which fields may meet


@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (50, 31)])
def test_the_circle_about_a_field_reaches_to_its_corners(shape):
    middle, radius = split._circle(field(shape=shape, wcs=tangent(shape, 2.0, 33.0)))
    ra, dec = np.radians([150.1, 2.2])
    expected = [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]
    assert np.allclose(middle, expected, atol=1e-12)
    assert radius == pytest.approx(np.radians(2.0 / 3600) * np.hypot(*shape) / 2, rel=1e-6)


def test_maps_with_corners_or_a_middle_that_are_no_sky_have_circles():
    whole = field(shape=(81, 163), wcs=wide("AIT", (81, 163), 2.0))
    middle, radius = split._circle(whole)
    assert np.allclose(middle, [1, 0, 0])
    assert 2.0 < radius < np.pi  # its rim lies between points of the lattice
    nothing = field(shape=(9, 9), wcs=shifted(wide("AIT", (9, 9), 2.0), 500, 500))
    assert split._circle(nothing)[1] == pytest.approx(np.pi)
    # The middle of this quarter of a hemisphere is none: the first point of sky stands for it.
    beside = wide("SIN", (41, 41), 3.0)
    beside.wcs.crpix = [1.0, 1.0]
    beside.wcs.set()
    middle, radius = split._circle(field(shape=(41, 41), wcs=beside))
    assert middle[0] > 0.99
    assert 1.1 < radius < np.pi / 2


def test_fields_may_meet_where_their_circles_nearly_touch():
    """The radii and a tenth: 2 × 50 pixels of one arcsec, apart in declination."""
    shape = (60, 80)
    first = field(shape=shape, wcs=tangent(shape, 1.0))
    for apart, expected in [(0, True), (99, True), (109, True), (111, False), (300, False)]:
        wcs = tangent(shape, 1.0, 70.0, dec=2.2 + apart / 3600)
        other = field("b", shape, wcs=wcs)
        assert split._may_overlap(first, other) == split._may_overlap(other, first) == expected
        assert not split._may_overlap(replace(first, wcs=None), other)
        assert not split._may_overlap(first, replace(other, wcs=None))


@pytest.mark.parametrize(("radius", "expected"), [(25.0, False), (27.0, True)])
def test_maps_of_much_of_the_sky_always_may_meet(radius, expected):
    """Beyond one radian together."""
    side = round(radius * np.sqrt(2)) * 10
    step = radius * np.sqrt(2) / side
    first, second = (
        field(shape=(side, side), wcs=wide("ARC", (side, side), step, lon)) for lon in (0.0, 150.0)
    )
    assert split._circle(first)[1] == pytest.approx(np.radians(radius), rel=1e-6)
    assert split._may_overlap(first, second) == expected


def test_fields_and_their_areas_are_never_changed_by_a_reader():
    one = field()
    (area,) = divide([one], SplitConfig(fraction=0), 8)
    for value, name in [(one, "name"), (area, "train")]:
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, getattr(value, name))


def test_an_outline_goes_once_round_the_outer_edge_of_the_pixels():
    x, y = split._outline(Rect(4, 10, 20, 31), 1.5)
    assert (x[0], y[0]) == (x[-1], y[-1]) == (18.0, 2.0)
    np.testing.assert_allclose([x.min(), x.max(), y.min(), y.max()], [18, 32, 2, 11])
    on_a_side = np.isclose(x, 18) | np.isclose(x, 32) | np.isclose(y, 2) | np.isclose(y, 11)
    assert on_a_side.all()
    assert np.hypot(np.diff(x), np.diff(y)).sum() == pytest.approx(2 * (14 + 9))
