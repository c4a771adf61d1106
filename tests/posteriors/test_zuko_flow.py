"""zuko's flows behind our contract: its own densities, and inverses of every family."""

from __future__ import annotations

import sys
from typing import get_args

import pytest
import torch
from posterior_networks import network

from imgturbo.config import ZukoConfig
from imgturbo.errors import ImgturboError
from imgturbo.posteriors import ZukoFlow

FAMILIES = get_args(ZukoConfig.model_fields["family"].annotation)
SEARCHED = ("sospf", "bpf", "gf", "naf", "unaf")  # inverses by bisection


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_zukos_density_and_an_inverse(family):
    pytest.importorskip("zuko")
    net = network("zuko", 2, 3, family=family, transforms=2, size=0.1).double()
    z, x = torch.randn(4, 2).double(), torch.randn(4, 3).double()
    (c,) = net.conditions(z)
    torch.testing.assert_close(net.log_prob(x, z), net.flow(c).log_prob(x))
    w, log_det = net.latents(x, z)
    back = net.push(w, [c]).detach()
    torch.testing.assert_close(back, x, atol=1e-3 if family in SEARCHED else 1e-8, rtol=1e-3)
    jacobian = torch.autograd.functional.jacobian(
        lambda v: net.latents(v[None], [c[:1]])[0][0], x[0]
    )
    expected = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(log_det[0], expected, atol=1e-5, rtol=1e-5)


def test_without_the_package_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ImgturboError, match=r"needs the package zuko: pip install") as caught:
        ZukoFlow(ZukoConfig(), 2, 3)
    assert "\n" not in str(caught.value)
