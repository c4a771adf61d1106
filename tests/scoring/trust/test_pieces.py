"""Large fields: arrays in scratch files, and pieces that see what the whole does."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from trust_standins import NOISE, fluxes_of, painted, places, sky

from imgturbo.errors import ImgturboError
from imgturbo.scoring import held as room
from imgturbo.scoring.held import HALO, at_places, forget, held, pieces, sampled, strips
from imgturbo.scoring.trust.report import look_at

WHERE = places()
FLUXES = fluxes_of(len(WHERE))


@pytest.mark.parametrize("shape", [(1, 1), (100, 1536), (1537, 40), (4096, 2000), (5000, 1)])
@pytest.mark.parametrize("halo", [0, 16, HALO])
def test_every_pixel_is_of_one_piece(shape, halo):
    count = np.zeros(shape, np.int8)
    for piece in pieces(shape, halo):
        count[piece.core] += 1
        for core, wide, inner, side in zip(*piece, shape, strict=True):
            assert core.start % HALO == 0
            assert wide.start == max(0, core.start - halo)
            assert wide.stop == min(side, core.stop + halo)
            assert wide.start + inner.start == core.start
            assert inner.stop - inner.start == core.stop - core.start <= 1536
    assert (count == 1).all()


def test_strips_are_all_rows():
    rows = np.concatenate([np.arange(of.start, of.stop) for of in strips((5000, 3000))])
    np.testing.assert_array_equal(rows, np.arange(5000))


def test_a_large_array_outlives_its_pages(monkeypatch):
    monkeypatch.setattr(room, "_LARGE", 100)
    array = held((3, 50, 50))
    assert not array.any()
    array[:] = np.arange(7500).reshape(3, 50, 50)
    forget()
    np.testing.assert_array_equal(array, np.arange(7500).reshape(3, 50, 50))
    assert array.dtype == np.float32
    assert held((5,)).base is None  # a small one is an ordinary array


def test_a_full_disk_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(room, "_LARGE", 100)
    monkeypatch.setattr(room, "_make_room", full)
    with pytest.raises(ImgturboError, match=r"no room for 0\.0 GB of scratch .*; set TMPDIR"):
        held((3, 50, 50))


def test_a_sample_is_of_all_columns(monkeypatch):
    monkeypatch.setattr(room, "_SAMPLE", 1000)
    data = np.broadcast_to(np.arange(60.0), (2, 200, 60)).copy()
    valid = np.ones((200, 60), bool)
    valid[:, 7] = False
    found = sampled(data, valid)
    assert set(found[0]) == set(range(60)) - {7}
    np.testing.assert_array_equal(*found)


def test_sources_are_measured_where_they_are(monkeypatch):
    monkeypatch.setattr(room, "_SIDE", 192)
    image = np.arange(500.0 * 300).reshape(500, 300)
    x, y = np.random.default_rng(0).uniform(0, [[299], [499]], (2, 50))

    def read(window, x, y):
        return image[window][np.rint(y).astype(int), np.rint(x).astype(int)][:, None]

    expected = image[np.rint(y).astype(int), np.rint(x).astype(int)][:, None]
    np.testing.assert_array_equal(at_places(image.shape, x, y, 3, read), expected)
    assert at_places(image.shape, x[:0], y[:0], 3, read).shape == (0, 1)


def flat(numbers, name=""):
    """Every number of a report by its path."""
    if isinstance(numbers, dict):
        return {k: v for key, of in numbers.items() for k, v in flat(of, f"{name}/{key}").items()}
    if isinstance(numbers, list):
        return {k: v for n, of in enumerate(numbers) for k, v in flat(of, f"{name}/{n}").items()}
    return {name: numbers} if isinstance(numbers, int | float) else {}


@pytest.mark.slow
def test_a_report_by_pieces_is_that_of_the_whole(monkeypatch):
    """Pieces change the backgrounds at their edges, by less than a hundredth of the noise."""
    part = slice(0, 230), slice(0, 250)
    given = [
        image.window(*part)
        for image in (
            sky(painted(WHERE, FLUXES), 0.3 * NOISE, 5),
            sky(painted(WHERE, FLUXES)),
            sky(painted(WHERE, FLUXES, 1.6), 2 * NOISE, 3),
        )
    ]
    monkeypatch.setattr("imgturbo.scoring.trust.points.can_measure", lambda: False)
    whole = look_at(*given)
    monkeypatch.setattr(room, "_SIDE", 200)
    monkeypatch.setattr(room, "_LARGE", 1000)
    parts = look_at(*given)
    assert len(list(pieces((230, 250)))) == 4
    assert len(parts.true) == len(whole.true)
    apart = (parts.scene.light["truth"] - whole.scene.light["truth"]) / NOISE
    assert np.abs(apart).max() < 0.01
    np.testing.assert_allclose(parts.apart, whole.apart, atol=0.02)
    one, other = flat(whole.numbers), flat(parts.numbers)
    assert one.keys() == other.keys()
    for name in one:
        if name.endswith("/n"):
            assert one[name] == other[name], name
    values = [name for name in one if "error" not in name and "sky" not in name]
    close = [np.isclose(one[name], other[name], rtol=0.01, atol=1e-3) for name in values]
    assert np.mean(close) > 0.98
