"""The 24 numbers of an event: names, momenta, thresholds."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.events import (
    OBJECTS,
    OTUS_THRESHOLDS,
    PARTONS,
    SELECTION,
    columns,
    layout,
    momenta,
    observables,
)
from imgturbo.events.layout import transverse


def test_every_number_has_a_name_of_its_own():
    names = columns(PARTONS) + columns(OBJECTS)
    assert len(set(names)) == 48
    assert set(observables(np.ones((1, 24)), np.ones((1, 24)))) - set(names) == {
        "m_tt", "m_W_had", "m_t_lep", "m_t_had",
    }  # fmt: skip


@pytest.mark.parametrize("module", [layout])
def test_examples_run(module):
    assert doctest.testmod(module).failed == 0


def test_momenta_are_rows_in_order():
    rows = np.arange(48.0).reshape(2, 24)
    assert momenta(rows)[1, 2].tolist() == [32, 33, 34, 35]
    with pytest.raises(ValueError, match="24"):
        momenta(np.zeros((2, 23)))


@given(st.floats(0.1, 1e3), st.floats(-5, 5), st.floats(-3, 3))
def test_transverse_undoes_its_formula(pt, eta, phi):
    p = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)])
    np.testing.assert_allclose(transverse(p), [pt, eta], rtol=1e-9, atol=1e-9)


def test_the_beam_and_nothing_have_an_eta():
    pt, eta = transverse(np.array([[0.0, 0, 5, 5], [0, 0, -5, 5], [0, 0, 0, 0]]))
    assert pt.tolist() == [0, 0, 0]
    assert eta.tolist() == [np.inf, -np.inf, 0]


def _event(pt, eta):
    """x with these p_T and η of e, p^miss and four jets."""
    pt, eta = np.broadcast_to(pt, 6), np.broadcast_to(eta, 6)
    return np.column_stack([pt, np.zeros(6), pt * np.sinh(eta), pt * np.cosh(eta)]).reshape(1, 24)


@pytest.mark.parametrize(
    ("pt", "eta", "ours", "theirs"),
    [
        (30, 0, True, True),
        (20, 0, False, False),  # the jets'; a threshold is to be exceeded
        ([15, 0, 30, 30, 30, 30], 0, False, True),
        ([30, 0, 30, 30, 30, 19], 0, False, False),
        (
            30,
            [0, 9, 0, 0, 0, -3],
            False,
            True,
        ),  # a jet beyond 2.5, and what p^miss has is no matter
        (30, [-2.6, 0, 0, 0, 0, 0], False, False),
        (30, [0, 0, 4.6, 0, 0, 0], False, False),
        (np.nan, 0, False, False),
    ],
)
def test_thresholds(pt, eta, ours, theirs):
    event = _event(pt, eta)
    assert SELECTION.passes(event).tolist() == [ours]
    assert OTUS_THRESHOLDS.passes(event).tolist() == [theirs]
