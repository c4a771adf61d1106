"""The classifier finds what can be told apart, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from imgturbo.scoring.two_samples import two_sample_auc


def test_two_normals_have_the_area_of_the_best_test():
    """Φ(d/√2) of means that are d apart: no classifier does better, and this one nearly as well."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 4000, 3))
    a[:, 1] += 1.0
    found = two_sample_auc(a, b, bootstrap=40)
    assert found.value == pytest.approx(norm.cdf(1 / math.sqrt(2)), abs=0.02)
    assert 0.003 < found.error < 0.015


def test_what_is_alike_cannot_be_told():
    random = np.random.default_rng(1)
    found = two_sample_auc(*random.normal(size=(2, 2000, 4)), bootstrap=40)
    assert abs(found.value - 0.5) < 4 * found.error


def test_it_sees_what_no_column_shows():
    """Correlated columns against shuffled ones: the same marginals."""
    random = np.random.default_rng(2)
    a = random.normal(size=(3000, 2)) @ [[1, 0.9], [0, 0.44]]
    b = np.stack([random.permutation(column) for column in a.T], 1)
    assert two_sample_auc(a, b, bootstrap=0).value > 0.75


def test_it_is_the_same_whatever_the_units_are():
    random = np.random.default_rng(3)
    a, b = random.normal(size=(300, 2)), random.normal(0.5, 2, (400, 2))
    one = two_sample_auc(a, b, bootstrap=0, steps=50)
    other = two_sample_auc(a * [1e9, 1e-6] + 7e9, b * [1e9, 1e-6] + 7e9, bootstrap=0, steps=50)
    assert one.value == pytest.approx(other.value, abs=1e-3)


def test_few_and_constant_rows():
    assert math.isnan(two_sample_auc(np.zeros((3, 2)), np.zeros((9, 2))).value)
    same = two_sample_auc(np.ones((9, 2)), np.ones((9, 2)), together=True, bootstrap=3, steps=5)
    assert same.value == 0.5
