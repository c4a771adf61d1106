"""No pixel of the validation sky is ever in a training tile, whatever the sizes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import assume, given
from hypothesis import strategies as st

from data_prep.split import FieldSky, Rect, divide, exclusion, guarded
from data_prep.tile import lay_tiles
from imgturbo.config import SplitConfig, TileConfig
from imgturbo.errors import ImgturboError

SIDES = st.integers(8, 90)


def tan(ra=150.0, dec=2.0, scale=0.05, angle=0.0, centre=(20.0, 20.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [centre[0] + 1, centre[1] + 1]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def sky(name, height, width, valid=None, **options):
    mask = np.ones((height, width), bool) if valid is None else valid
    return FieldSky(name, options.pop("kind", "pair"), mask, **options)


def covered(positions, size, shape):
    mask = np.zeros(shape, bool)
    for y, x in positions:
        assert y >= 0
        assert x >= 0
        assert y + size <= shape[0]
        assert x + size <= shape[1]
        mask[y : y + size, x : x + size] = True
    return mask


def tiles_of(fields, split, tile):
    areas = divide(fields, split, tile.size)
    guard, excluded = guarded(fields, areas, split.guard)
    out = []
    for index, field in enumerate(fields):
        out.append(lay_tiles([field.valid], areas[index], excluded[index], tile, guard))
    return areas, out


SPLITS = st.one_of(
    st.builds(
        SplitConfig,
        method=st.just("blocks"),
        fraction=st.floats(0, 0.9),
        block=st.integers(1, 6),
        guard=st.integers(0, 9),
    ),
    st.builds(
        SplitConfig,
        method=st.just("rows"),
        rows=st.tuples(st.integers(0, 7), st.integers(8, 90)),
        guard=st.integers(0, 9),
    ),
    st.builds(SplitConfig, method=st.just("field"), fraction=st.floats(0, 0.9)),
)


@given(
    shapes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=4),
    split=SPLITS,
    size=st.integers(8, 20),
    stride=st.one_of(st.none(), st.integers(1, 25)),
)
def test_validation_pixels_are_in_no_training_tile(shapes, split, size, stride):
    fields = [sky(f"f{i}", *shape) for i, shape in enumerate(shapes)]
    tile = TileConfig(size=size, stride=stride)
    areas, windows = tiles_of(fields, split, tile)
    for field, area, window in zip(fields, areas, windows, strict=True):
        held_out = np.zeros(field.valid.shape, bool)
        for y0, y1, x0, x1 in area.validation:
            held_out[y0:y1, x0:x1] = True
        train = covered(window.train, size, field.valid.shape)
        validation = covered(window.validation, size, field.valid.shape)
        assert not (train & held_out).any()
        assert not (validation & ~held_out).any()
        if train.any() and validation.any():
            # The guard: no training pixel nearer to a validation pixel.
            wide = np.zeros(held_out.shape, bool)
            g = split.guard
            for y0, y1, x0, x1 in area.validation:
                wide[max(y0 - g, 0) : y1 + g, max(x0 - g, 0) : x1 + g] = True
            assert not (train & wide).any()


@given(
    angle=st.floats(0, 360),
    shift=st.tuples(st.integers(-60, 60), st.integers(-60, 60)),
    scale=st.sampled_from([0.03, 0.05, 0.08]),
    guard=st.integers(0, 5),
    fraction=st.floats(0.1, 0.6),
    asked=st.sampled_from(["auto", "train"]),
)
def test_fields_that_see_the_same_sky_do_not_leak(angle, shift, scale, guard, fraction, asked):
    """Every pixel of a training tile, carried over the sky, misses the other's validation."""
    a = sky("a", 64, 77, wcs=tan())
    x, y = 20.0 - shift[0], 20.0 - shift[1]
    b = sky("b", 61, 59, wcs=tan(angle=angle, scale=scale, centre=(x, y)), asked=asked)
    split = SplitConfig(fraction=fraction, block=2, guard=guard)
    areas, windows = tiles_of([a, b], split, TileConfig(size=8))
    for here, there, window, area in [(a, b, windows[0], areas[1]), (b, a, windows[1], areas[0])]:
        train = covered(window.train, 8, here.valid.shape)
        rows, cols = np.nonzero(train)
        # The corners of each pixel, not only its centre.
        for dy, dx in [(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)]:
            world = here.wcs.all_pix2world(cols + dx, rows + dy, 0)
            u, v = there.wcs.all_world2pix(*world, 0)
            for y0, y1, x0, x1 in area.validation:
                inside = (u > x0 - 0.5) & (u < x1 - 0.5) & (v > y0 - 0.5) & (v < y1 - 0.5)
                assert not inside.any()


def test_a_guard_costs_its_own_sky_and_not_a_row_of_tiles():
    """Tiles beside a held-out square are slid out of its guard: as many as without one."""
    field = sky("a", 1024, 1024)
    tile, split = TileConfig(size=128), SplitConfig(fraction=0.15, block=2)
    bare, apart = (
        tiles_of([field], split.model_copy(update={"guard": g}), tile)[1][0] for g in (0, None)
    )
    assert len(apart.validation) == len(bare.validation)
    assert len(apart.train) >= 0.9 * len(bare.train)
    y, x = apart.validation.T
    for ty, tx in apart.train:
        gap = np.maximum(np.maximum(y - ty, ty - y), np.maximum(x - tx, tx - x)) - 128
        assert gap.min() >= 32  # by default more than a galaxy, and than the noise's correlation


@pytest.mark.parametrize("size", [40, 64, 101, 160])
def test_a_guard_that_nobody_asked_for_leaves_half_of_a_small_field(size):
    fields = [sky("a", size, size)]
    split = SplitConfig(fraction=0.2, block=1)
    areas = divide(fields, split, 16)
    left = {pixels: int((~exclusion(fields, areas, 0, pixels)).sum()) for pixels in range(33)}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        guard, (mask,) = guarded(fields, areas, None)
    assert (~mask).sum() == left[guard] >= 0.5 * left[0]
    # The next larger one of the row 32, 16, … would take more.
    assert guard == 32 or left[max(1, 2 * guard)] < 0.5 * left[0]
    assert [f" {guard} pixels apart" in str(w.message) for w in said] == [True] * (guard < 32)
    # What is asked for is done, whatever it costs.
    strict, (mask,) = guarded(fields, areas, 32)
    assert strict == 32
    assert (~mask).sum() == left[32]


def in_frame(wcs, frame):
    """The same pixels on the same sky, with another frame's coordinates in the header."""
    names = {"galactic": ("GLON", "GLAT"), "fk4": ("RA--", "DEC-"), "icrs": ("RA--", "DEC-")}[frame]
    x, y = np.meshgrid(np.linspace(0, 80, 9), np.linspace(0, 80, 9))
    there = wcs.pixel_to_world(x.ravel(), y.ravel()).transform_to(frame)
    centre = wcs.pixel_to_world(40.0, 40.0).transform_to(frame)
    new = WCS(naxis=2)
    new.wcs.ctype = [f"{name}-TAN" for name in names]
    new.wcs.crval = [centre.spherical.lon.deg, centre.spherical.lat.deg]
    new.wcs.crpix = [41.0, 41.0]
    new.wcs.cd = np.eye(2)
    if frame == "fk4":
        new.wcs.radesys, new.wcs.equinox = "FK4", 1950.0
    new.wcs.set()
    sky = np.stack([there.spherical.lon.deg, there.spherical.lat.deg], axis=1)
    plane = new.wcs_world2pix(sky, 1) - 41.0
    pixels = np.stack([x.ravel() - 40, y.ravel() - 40], axis=1)
    new.wcs.cd = np.linalg.lstsq(pixels, plane, rcond=None)[0].T
    new.wcs.set()
    return new


def latitude_first(wcs):
    new = WCS(naxis=2)
    new.wcs.ctype = list(wcs.wcs.ctype)[::-1]
    new.wcs.crval, new.wcs.cd = wcs.wcs.crval[::-1], wcs.wcs.cd[::-1]
    new.wcs.crpix = wcs.wcs.crpix
    new.wcs.set()
    return new


@pytest.mark.parametrize("frame", ["galactic", "fk4", "DEC first"])
def test_the_same_sky_in_another_frame_does_not_leak(frame):
    """Validation is the whole of one field; the other sees the same sky by other numbers."""
    plain = tan(angle=33.0)
    other = latitude_first(plain) if frame == "DEC first" else in_frame(plain, frame)
    x, y = np.array([0.0, 70.0, 5.0]), np.array([3.0, 60.0, 70.0])
    apart = plain.pixel_to_world(x, y).separation(other.pixel_to_world(x, y).icrs)
    assert apart.arcsec.max() < 0.01
    for here, there in ((plain, other), (other, plain)):
        fields = [sky("a", 80, 80, wcs=here), sky("b", 64, 70, wcs=there, asked="validation")]
        areas = divide(fields, SplitConfig(fraction=0), 8)
        mask = exclusion(fields, areas, 0, 0)
        assert mask[:64, :70].all()
        assert not mask[67:].any()
        assert not mask[:, 73:].any()
    # Which blocks are held out depends on the place in the sky alone.
    split = SplitConfig(fraction=0.3, block=1)
    one, two = (divide([sky("a", 64, 64, wcs=w)], split, 16) for w in (plain, other))
    assert one == two


def test_a_map_of_the_whole_sky_excludes_what_it_saw():
    """Outlines that the seam of a map tears apart are filled pixel by pixel."""
    full = WCS(naxis=2)
    full.wcs.ctype = ["GLON-AIT", "GLAT-AIT"]
    full.wcs.crpix, full.wcs.crval, full.wcs.cdelt = [82.0, 41.5], [0.0, 0.0], [-2.0, 2.0]
    full.wcs.set()
    seam = WCS(naxis=2)
    seam.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    seam.wcs.crpix, seam.wcs.crval, seam.wcs.cdelt = [10.5, 10.5], [180.0, 0.0], [-1.0, 1.0]
    seam.wcs.set()
    fields = [
        sky("all", 82, 163, wcs=full, kind="target"),
        sky("seam", 20, 20, wcs=seam, kind="source", asked="validation"),
    ]
    mask = exclusion(fields, divide(fields, SplitConfig(fraction=0), 8), 0, 0)
    y, x = np.mgrid[:82, :163]
    with np.errstate(invalid="ignore"):
        lon, lat = full.pixel_to_world_values(x, y)
    inside = (np.abs(lon - 180) < 8) & (np.abs(lat) < 8)
    far = (np.abs(lon - 180) > 18) | (np.abs(lat) > 18)
    assert inside.sum() > 20
    assert mask[inside].all()
    assert not mask[far].any()


def test_far_fields_do_not_disturb_each_other():
    a = sky("a", 64, 64, wcs=tan())
    b = sky("b", 64, 64, wcs=tan(ra=330.0, dec=-2.0), asked="validation")
    areas = divide([a, b], SplitConfig(fraction=0), 8)
    assert not exclusion([a, b], areas, 0, 0).any()
    assert exclusion([a, b], areas, 1, 0).all()


@given(
    shape=st.tuples(st.integers(60, 130), st.integers(60, 130)),
    fraction=st.floats(0.1, 0.5),
    block=st.integers(1, 4),
)
def test_blocks_hold_out_about_the_fraction(shape, fraction, block):
    field = sky("a", *shape)
    (area,) = divide([field], SplitConfig(fraction=fraction, block=block), 8)
    held = sum((y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in area.validation)
    largest = (min(2 * block, 16) * 8) ** 2 / field.valid.size
    assert abs(held / field.valid.size - fraction) <= largest
    assert area.validation


def test_division_depends_on_the_sky_not_on_the_order_or_the_names():
    fields = [sky(f"f{i}", 64, 64, wcs=tan(ra=150 + i)) for i in range(4)]
    split = SplitConfig(fraction=0.3, block=1)
    first = divide(fields, split, 16)
    renamed = [sky(f"g{i}", 64, 64, wcs=tan(ra=150 + i)) for i in (2, 0, 3, 1)]
    second = divide(renamed, split, 16)
    assert [second[i] for i in (1, 3, 0, 2)] == first


def test_fields_may_be_named():
    fields = [sky("a", 40, 40), sky("b", 40, 40, asked="validation"), sky("c", 40, 40)]
    areas = divide(fields, SplitConfig(method="field", fraction=0), 8)
    assert [bool(a.validation) for a in areas] == [False, True, False]
    assert [bool(a.train) for a in areas] == [True, False, True]
    areas = divide([sky("a", 40, 40, asked="train")], SplitConfig(fraction=0.5), 8)
    assert areas[0].validation == ()


def test_whole_fields_by_fraction_never_all_and_never_none():
    fields = [sky(f"f{i}", 40, 40) for i in range(5)]
    for fraction in (0.01, 0.3, 0.99):
        areas = divide(fields, SplitConfig(method="field", fraction=fraction), 8)
        held = sum(bool(a.validation) for a in areas)
        assert 1 <= held <= 4


def test_each_kind_is_divided_for_itself():
    """An unpaired set beside pairs must not take all of the validation."""
    fields = [sky(f"p{i}", 40, 40) for i in range(3)]
    fields += [sky(f"s{i}", 80, 80, kind="source") for i in range(3)]
    areas = divide(fields, SplitConfig(method="field", fraction=0.3), 8)
    assert sum(bool(a.validation) for a in areas[:3]) == 1
    assert sum(bool(a.validation) for a in areas[3:]) == 1


def test_rows_fill_each_band_from_its_first_row():
    field = sky("a", 100, 40)
    split = SplitConfig(method="rows", rows=(37, 71), guard=3)
    areas, (windows,) = tiles_of([field], split, TileConfig(size=16))
    assert areas[0].validation == (Rect(37, 71, 0, 40),)
    assert sorted(set(windows.validation[:, 0])) == [37, 53]
    assert sorted(set(windows.train[:, 0])) == [0, 16, 74]


def test_rows_follow_the_pixel_scale():
    (area,) = divide([sky("a", 200, 40, scale=2.0)], SplitConfig(method="rows", rows=(37, 71)), 8)
    assert area.validation == (Rect(74, 142, 0, 40),)


def test_without_rows_the_last_fraction_of_every_field_is_held_out():
    fields = [sky("a", 2285, 40), sky("b", 101, 30), sky("c", 70, 20, asked="train")]
    split = SplitConfig(method="rows", fraction=0.2, guard=0)
    first, second, third = divide(fields, split, 8)
    assert first.validation == (Rect(1828, 2285, 0, 40),)
    assert first.train == (Rect(0, 1828, 0, 40),)
    assert second.validation == (Rect(81, 101, 0, 30),)
    assert third.validation == ()
    covered = np.zeros((100, 40), bool)
    covered[10:60] = True
    (fourth,) = divide([sky("d", 100, 40, valid=covered)], SplitConfig(method="rows"), 8)
    assert fourth.validation == (Rect(50, 60, 0, 40),)
    (all_of_it,) = divide([sky("a", 9, 9)], SplitConfig(method="rows", fraction=0), 8)
    assert (all_of_it.train, all_of_it.validation) == ((Rect(0, 9, 0, 9),), ())


def test_impossible_rows_are_named():
    with pytest.raises(ImgturboError, match="has 100 rows"):
        divide([sky("a", 100, 40)], SplitConfig(method="rows", rows=(100, 120)), 8)


@given(
    seed=st.integers(0, 99),
    least=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    size=st.integers(8, 13),
    stride=st.one_of(st.none(), st.integers(1, 9)),
)
def test_min_valid_is_kept_and_nothing_else_is_lost(seed, least, size, stride):
    """The tiles are all those of the lattice whose valid fraction is enough, on both sides."""
    rng = np.random.default_rng(seed)
    assume(size <= 29)
    masks = [rng.random((29, 37)) > rng.random() * 0.5 for _ in range(2)]
    field = sky("a", 29, 37, valid=masks[0] & masks[1])
    split = SplitConfig(fraction=0)
    areas = divide([field], split, size)
    config = TileConfig(size=size, stride=stride, min_valid=least)
    windows = lay_tiles(masks, areas[0], exclusion([field], areas, 0, 0), config)
    step = stride or size
    expected = [
        (y, x)
        for y in range(0, 29 - size + 1, step)
        for x in range(0, 37 - size + 1, step)
        if all(m[y : y + size, x : x + size].mean() >= least - 1e-9 for m in masks)
    ]
    assert [tuple(p) for p in windows.train.tolist()] == expected
