"""The ledger, and what every engine inherits: maps, what it refuses, scores."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from imgturbo.errors import ImgturboError
from imgturbo.losses import DIRECTIONS, Ledger, Trainable


def test_a_ledger_by_hand():
    """Two scales of one term, a term of weight 0, one in which nothing counts, and the critic's."""
    a, b, c = (torch.tensor(v, requires_grad=True) for v in (6.0, 10.0, 3.0))
    ledger = Ledger()
    ledger.add("D/x", "generator", 2.0, a * torch.tensor([1.0, 2.0]), torch.tensor([4, 5]), 0.5)
    ledger.add("D/x", "generator", 2.0, b, torch.tensor(4), 0.5)
    ledger.add("L/x", "generator", 0.0, 7 * a, torch.tensor(2))
    ledger.add("L/z", "generator", 1.0, 0 * a, torch.tensor([0, 0]))
    ledger.add("critic/x", "critic", 3.0, c, torch.tensor(6.0))
    losses = ledger.settle()
    mean = 0.5 * 18 / 9 + 0.5 * 10 / 4
    assert losses.generator.item() == pytest.approx(2 * mean)
    assert losses.critic.item() == pytest.approx(1.5)
    assert {name: term.item() for name, term in losses.terms.items()} == pytest.approx(
        {"D/x": mean, "L/x": 21, "L/z": 0, "critic/x": 0.5}
    )
    assert not any(term.requires_grad for term in losses.terms.values())
    grads = torch.autograd.grad(losses.generator, (a, b), retain_graph=True)
    assert [g.item() for g in grads] == pytest.approx([2 * 0.5 * 3 / 9, 2 * 0.5 / 4])
    assert torch.autograd.grad(losses.critic, c)[0].item() == pytest.approx(0.5)
    assert torch.autograd.grad(losses.critic, a, allow_unused=True)[0] is None


class Engine(Trainable):
    """A decoder and perhaps an encoder, with terms that a test names."""

    def __init__(self, terms=None, encoder=None):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 3), encoder
        self.terms = terms or {}

    def forward(self, batch):
        raise NotImplementedError

    def terms_by_pairs(self):
        return self.terms


def source(pairs=5, counting=True):
    """Of so many pairs; ``counting``: whether anything is measured, or of which sides it is."""

    def counts(sides, by_pairs):
        measured = counting if isinstance(counting, bool) else set(sides) <= set(counting)
        return measured and not (by_pairs and pairs == 0)

    extents = lambda whole=False: (None, None)  # noqa: E731
    return SimpleNamespace(name="tiles", pairs=pairs, counts=counts, extents=extents)


BOTH = {"L/x_tilde": True, "L/x_hat": False}


def test_maps_and_their_scores():
    one, two = Engine(), Engine(encoder=nn.Linear(3, 2))
    assert list(one.maps()) == ["decoder"]
    assert two.maps() == {"decoder": two.decoder, "encoder": two.encoder}
    assert DIRECTIONS == {"forward": "decoder", "backward": "encoder"}
    assert one.all_scores() == {
        "forward/psnr": True, "forward/ssim": True, "forward/l1": False,
        "forward/mmd": False, "forward/frechet": False,
    }  # fmt: skip
    assert {name for name in two.all_scores() if not name.startswith("forward")} == {
        "backward/psnr", "backward/ssim", "backward/l1", "backward/mmd", "backward/frechet",
        "direct/psnr", "reverse/psnr",
    }  # fmt: skip
    two.own_scores = {"forward/bits": False}
    assert two.all_scores()["forward/bits"] is False
    two.encoder.bias.requires_grad_(False)
    assert len(two.generator_parameters()) == 3
    assert two.critic_parameters() == []
    assert (two.state_beside(), two.terms_by_pairs(), two.scores({}, None, 0)) == ({}, {}, {})


@pytest.mark.parametrize(
    ("terms", "data", "line"),
    [
        (BOTH, source(7), "training samples: 7 pairs"),
        (BOTH, source(0), "training samples: 0 pairs; none counts in L/x_tilde"),
        (BOTH, source(1), "training samples: 1 pairs"),
        (BOTH, source(None), "training samples: ever new pairs"),
        (BOTH, source(3, False), "training samples: 3 pairs; none counts in L/x_tilde, L/x_hat"),
        ({}, source(0), "training samples: 0 pairs"),
    ],
)
def test_the_account_names_what_stands_idle(terms, data, line):
    engine = Engine(terms)
    assert engine.account(data) == line
    assert engine.sides_of_terms() == dict.fromkeys(terms, ("source", "target"))


def test_data_of_which_nothing_counts_is_refused():
    by_pairs = {"L/x_tilde": True, "L/z_tilde": True}
    for terms, data in ((by_pairs, source(1)), (BOTH, source(0)), ({}, source(0, False)),
                        (by_pairs, source(None))):  # fmt: skip
        Engine(terms).check(data)
    with pytest.raises(ImgturboError, match=r"no training sample is a pair.*L/x_tilde, L/z_tilde"):
        Engine(by_pairs).check(source(0))
    with pytest.raises(ImgturboError, match="masks leave no pixel of any training sample"):
        Engine(BOTH).check(source(5, False))
    Engine({**BOTH, "L/z_hat": False}).check(source(0))


def test_a_map_is_asked_about_the_whole_and_the_crop_once_each():
    asked = []
    engine = Engine(BOTH, encoder=nn.Linear(3, 2))
    engine.decoder.check = engine.encoder.check = lambda *sides: asked.append(sides)
    for whole, extent, expected in (
        ((64, 64), (32, 32), [(64, 64), (32, 32)] * 2),
        ((64, 64), (64, 64), [(64, 64)] * 2),
        ((None, 48), (None, 32), [(None, 48), (None, 32), (48, None), (32, None)]),
        ((8, 16), (8, 16), [(8, 16), (16, 8)]),
    ):
        asked.clear()
        data = source()
        data.extents = lambda whole=False, w=whole, e=extent: w if whole else e
        engine.check(data)
        assert asked == expected
