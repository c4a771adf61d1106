"""Mixings of channels: rotations to the last digit, seeds, autocast."""

from __future__ import annotations

import copy

import torch
from refusals import one_line

from imgturbo.flows import LUMixing, OrthogonalMixing, Permutation


def test_an_orthogonal_matrix_born_in_float32_is_orthogonal_in_float64():
    layer = OrthogonalMixing(64)
    identity = torch.eye(64, dtype=torch.float64)
    state = copy.deepcopy(layer.state_dict())
    layer.double()
    assert (layer.matrix @ layer.matrix.T - identity).abs().max() < 1e-12
    layer.load_state_dict(state)
    assert (layer.matrix @ layer.matrix.T - identity).abs().max() < 1e-12


def test_seeds_choose_the_mixing():
    for make in (OrthogonalMixing, LUMixing, Permutation):
        x = torch.randn(1, 16, 2, 2)
        assert torch.equal(make(16, seed=1)(x)[0], make(16, seed=1)(x)[0])
        assert not torch.equal(make(16, seed=1)(x)[0], make(16, seed=2)(x)[0])


def test_learned_mixing_starts_as_a_rotation():
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    z, log_det = LUMixing(8).double()(x)
    assert torch.allclose(z.norm(dim=1), x.norm(dim=1), atol=1e-5)
    assert log_det.abs().max() < 1e-4


def test_mixing_under_autocast_is_that_without():
    for layer in (OrthogonalMixing(6), LUMixing(6)):
        x = torch.randn(2, 6, 3, 3)
        expected = layer(x)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(x)[0], expected)


def test_bad_matrices_and_permutations_are_named_in_one_line():
    one_line(lambda: Permutation([0, 0, 1]), "once")
    one_line(lambda: OrthogonalMixing(2, matrix=torch.ones(2, 2)), "orthogonal")
