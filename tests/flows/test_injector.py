"""The affine injector: exact, identity at first, one condition for several rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.config import FlowConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows import Additive, Affine, Injector, RationalQuadratic, VolumePreserving

LAWS = st.sampled_from([Affine(), Additive(), VolumePreserving(), RationalQuadratic()])


def shaken(channels, law, dtype=torch.float64):
    injector = Injector(channels, 2, 3, law).to(dtype)
    with torch.no_grad():
        for parameter in injector.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return injector


@given(LAWS, st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 9))
def test_it_is_undone_and_its_log_determinant_is_autograds(law, channels, height, width, seed):
    torch.manual_seed(seed)
    injector = shaken(channels, law)
    x = torch.randn(1, channels, height, width, dtype=torch.float64)
    c = torch.randn(1, 2, height, width, dtype=torch.float64)
    z, log_det = injector(x, c)
    torch.testing.assert_close(injector.inverse(z, c), x, rtol=0, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(lambda u: injector(u, c)[0].flatten(), x)
    expected = torch.linalg.slogdet(jacobian.reshape(z.numel(), z.numel()))[1]
    assert abs(float((log_det - expected).detach())) < 1e-6


def test_it_starts_as_the_identity():
    x = torch.randn(2, 1, 4, 5)
    z, log_det = Injector(1, 2, 3)(x, torch.randn(2, 2, 4, 5))
    assert torch.equal(z, x)
    assert not log_det.any()


def test_a_row_of_the_condition_serves_the_rows_that_follow_each_other():
    torch.manual_seed(0)
    injector = shaken(2, Affine())
    x, c = torch.randn(6, 2, 3, 4).double(), torch.randn(2, 2, 3, 4).double()
    z, log_det = injector(x, c)
    again, same = injector(x, c.repeat_interleave(3, dim=0))
    torch.testing.assert_close((z, log_det), (again, same))


def test_what_does_not_fit_is_named():
    injector = Injector(2, 3, 4)
    for condition in (None, torch.zeros(1, 2, 4, 4)):
        with pytest.raises(ImgturboError, match="3 channels"):
            injector(torch.zeros(1, 2, 4, 4), condition)
    with pytest.raises(ImgturboError, match="does not fit"):
        injector(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 2))
    with pytest.raises(ValueError, match="zhang"):
        FlowConfig.model_validate({"stages": [{"injector": True}], "condition": {"kind": "zhang"}})
