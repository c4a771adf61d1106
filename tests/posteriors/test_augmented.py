"""The augmented network: both ways through it, and its four terms by the paper's formulas."""

from __future__ import annotations

import pytest
import torch
from posterior_batches import rows
from posterior_networks import network, trainable

from imgturbo.config import AugmentedINNConfig
from imgturbo.errors import ImgturboError
from imgturbo.posteriors import AugmentedINN


@pytest.mark.parametrize(
    ("of_y", "of_x", "settings", "sizes", "padding"),
    [
        (2, 4, {}, (2, 0, 2), 0),
        (5, 3, {}, (1, 0, 5), 3),
        (1, 1, {}, (1, 0, 1), 1),
        (2, 4, {"latent": 3}, (3, 0, 2), 1),
        (2, 3, {"latent": 2, "total": 9}, (2, 5, 2), 6),
    ],
)
def test_both_ways_and_their_sizes(of_y, of_x, settings, sizes, padding):
    net = network("augmented_inn", of_y, of_x, **settings).double()
    assert (net.sizes, net.padding, net.numbers) == (sizes, padding, sizes[0])
    x = torch.randn(4, of_x).double()
    w, empty, y = net.predict(x)
    assert (w.shape[1], empty.shape[1], y.shape[1]) == sizes
    back = net.bring_back(w, empty, y)
    torch.testing.assert_close(back, torch.cat([x, x.new_zeros(4, padding)], 1))
    draws = net.posterior(y, 3)
    assert draws.shape == (4, 3, of_x)
    if padding == sizes[1] == 0:  # the observation of a draw is what was asked for
        torch.testing.assert_close(net.predict(draws[:, 1])[2], y)


def test_too_few_numbers_are_one_line():
    with pytest.raises(ImgturboError, match=r"total is 4.*2 and 3 of w make 5; set 5") as caught:
        AugmentedINN(AugmentedINNConfig(latent=3, total=4), 2, 4)
    assert "\n" not in str(caught.value)


def kernels(a, b, scales):
    squares = (a[:, None] - b[None]).square().mean(2)
    return sum(h**2 / (h**2 + squares) for h in scales)


def mmd(real, fake, scales):
    """Unbiased: no sample is compared with itself; Gretton et al. 2012, equation 3."""
    n = len(real)
    apart = 1 - torch.eye(n)
    inner = sum((kernels(u, u, scales) * apart).sum() / (n * (n - 1)) for u in (real, fake))
    return inner - 2 * kernels(real, fake, scales).mean()


def test_the_terms_are_the_papers():
    weights = {"prediction": 1.5, "latent": 2.0, "posterior": 3.0, "reconstruction": 0.5}
    scales = [0.3, 1.0]
    quiet = {"source_noise": 0, "latent_noise": 0, "padding_noise": 0}
    objective = trainable("augmented_inn", 2, 3, {"latent": 2, "total": 5},
                          augmented={**weights, **quiet, "scales": scales})  # fmt: skip
    net = objective.decoder
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    batch = rows(8, 2, 3)
    counts = batch.paired & batch.z_valid[:, 0] & batch.x_valid[:, 0]
    torch.manual_seed(7)
    found = objective(batch)
    torch.manual_seed(7)
    torch.randn(8, 2), torch.randn(8, 2)  # the source's noise and the padding's
    normal = torch.randn(8, 2)[counts]
    y, x = batch.z[counts], batch.x[counts]
    w, padding, predicted = net.predict(x)
    drawn = net.bring_back(normal, None, y)[:, :3]
    again = net.bring_back(w, padding, predicted.detach())
    expected = {
        "prediction": ((predicted - y).square().sum() + padding.square().sum()) / counts.sum(),
        "latent": mmd(torch.cat([normal, y], 1), torch.cat([w, predicted], 1), scales),
        "posterior": mmd(x, drawn, scales),
        "reconstruction": (again - torch.cat([x, x.new_zeros(len(x), 2)], 1)).square().sum()
        / counts.sum(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found.terms[name], value.detach(), atol=1e-5, rtol=1e-4)
    total = sum(weights[name] * value for name, value in expected.items())
    torch.testing.assert_close(found.generator.detach(), total.detach(), atol=1e-4, rtol=1e-4)


def test_the_latent_term_moves_no_prediction():
    """The gradient of the latent term stops at the predicted source."""
    only = {"prediction": 0, "latent": 1, "posterior": 0, "reconstruction": 0}
    objective = trainable("augmented_inn", 2, 4, augmented=only)
    seen = {}
    real = objective.decoder.predict

    def predict(*given):
        w, padding, y = real(*given)
        for name, part in (("w", w), ("y", y)):
            part.retain_grad()
            seen[name] = part
        return w, padding, y

    objective.decoder.predict = predict
    objective(rows(8, 2, 4, whole=True)).generator.backward()
    assert seen["w"].grad.abs().sum() > 0
    assert seen["y"].grad is None or seen["y"].grad.abs().sum() == 0


def test_terms_of_no_weight_cost_no_pass():
    only = {"prediction": 1, "latent": 0, "posterior": 0, "reconstruction": 0}
    objective = trainable("augmented_inn", 2, 4, augmented=only)
    assert objective.terms_by_pairs() == {"prediction": True}
    calls = []
    objective.decoder.flow.inverse = lambda *_: calls.append(1)
    losses = objective(rows(8, 2, 4))
    assert set(losses.terms) == {"prediction"}
    assert not calls


def test_the_score_is_nothing_where_draws_are_the_truth(monkeypatch):
    objective = trainable("augmented_inn", 2, 4)
    batch = rows(600, 2, 4, whole=True)
    other = rows(600, 2, 4, whole=True, seed=1)
    monkeypatch.setattr(AugmentedINN, "push", lambda self, w, conditions: other.x)
    total, count = objective.scores({"decoder": objective.decoder}, batch, 0)["forward/mmd"]
    assert count == 600
    assert abs(float(total / count)) < 0.004
    monkeypatch.setattr(AugmentedINN, "push", lambda self, w, conditions: 0.3 * other.x)
    total, count = objective.scores({"decoder": objective.decoder}, batch, 0)["forward/mmd"]
    assert float(total / count) > 0.05
