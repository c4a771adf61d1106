"""The mean over symmetries commutes with them, and its error is at most the mean error."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.config import DataConfig, UNetConfig
from imgturbo.data.augment import apply_symmetry
from imgturbo.errors import ImgturboError
from imgturbo.nets import Ensemble, FreshNoise, build_generator, receptive_field
from imgturbo.symmetries import GROUPS, mirrors


def network(stem: int = 1, **options):
    torch.manual_seed(2)
    made = build_generator(UNetConfig(width=4, depth=1, blocks=1, stem=stem, **options), 2, 3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.2)
    return made.double().eval()


def acted(u, element):
    transposed, axes = mirrors(element)
    return (u.transpose(2, 3) if transposed else u).flip([2 + axis for axis in axes])


@given(
    group=st.sampled_from(["mirror", "flips", "d4"]),
    stem=st.sampled_from([1, 3]),
    rows=st.integers(1, 5),
    cols=st.integers(1, 5),
    element=st.integers(0, 7),
)
def test_it_commutes_with_every_element(group, stem, rows, cols, element):
    ensemble = Ensemble(network(stem), group)
    element = GROUPS[group][element % len(GROUPS[group])]
    u = torch.randn(2, 2, rows * ensemble.stride, cols * ensemble.stride, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ensemble(acted(u, element)), acted(ensemble(u), element))


def test_the_network_alone_does_not():
    alone = network()
    u = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert (alone(u.flip(3)) - alone(u).flip(3)).abs().max() > 0.01
        assert torch.equal(Ensemble(alone, "none")(u), alone(u))


@pytest.mark.parametrize("name", GROUPS)
def test_groups_are_those_of_the_augmentation(name):
    u = torch.arange(9.0).reshape(1, 1, 3, 3)
    mine = [tuple(acted(u, element).flatten().tolist()) for element in GROUPS[name]]
    moved = [apply_symmetry([u.numpy()], element)[0] for element in GROUPS[name]]
    assert mine == [tuple(one.flatten().tolist()) for one in moved]
    assert len(set(mine)) == len(GROUPS[name])
    assert set(GROUPS) == set(DataConfig.model_fields["augment"].annotation.__args__)


@given(height=st.integers(1, 23), width=st.integers(1, 23))
def test_any_size(height, width):
    output = Ensemble(network(3), "d4")(torch.randn(1, 2, height, width, dtype=torch.float64))
    assert output.shape == (1, 3, height, width)
    assert output.isfinite().all()


@given(seed=st.integers(0, 99))
def test_jensen(seed):
    generator, elements = network(), GROUPS["d4"]
    torch.manual_seed(seed)
    u = torch.randn(1, 2, 12, 12, dtype=torch.float64)
    truth = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    with torch.no_grad():
        mean_error = (Ensemble(generator, "d4")(u) - truth).square().mean()
        errors = [(generator(acted(u, g)) - acted(truth, g)).square().mean() for g in elements]
    assert mean_error <= torch.stack(errors).mean() + 1e-12


def test_it_sees_as_far_as_its_network_and_repeats_itself():
    generator = network(noise_channels=2)
    ensemble = Ensemble(generator, "d4")
    assert receptive_field(ensemble) == receptive_field(generator)
    assert ensemble.stride == generator.stride
    assert not ensemble.stochastic
    u = torch.randn(1, 2, 9, 10, dtype=torch.float64)
    assert torch.equal(ensemble(u, FreshNoise()), ensemble(u))


def test_wrong_input_is_named():
    with pytest.raises(ImgturboError, match="reads 2 bands but the image has 5"):
        Ensemble(network(), "d4")(torch.zeros(1, 5, 4, 4))
    with pytest.raises(ImgturboError, match="not an array of shape"):
        Ensemble(network(), "d4")(torch.zeros(4, 2))
