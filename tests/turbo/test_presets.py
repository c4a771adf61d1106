"""Presets and how a user's weights change them."""

from __future__ import annotations

import pytest

from imgturbo.config import ObjectiveConfig
from imgturbo.errors import ImgturboError
from imgturbo.turbo.divergences import DIVERGENCES
from imgturbo.turbo.presets import PRESETS, resolve
from imgturbo.turbo.terms import OUTPUTS, Terms


def on(weights):
    return {name: weight for name, weight in weights.items() if weight}


def critics(terms):
    """Weights of the marginal terms, each of which is a critic's alone."""
    mixes = {name: terms.divergences(name) for name in OUTPUTS}
    assert all(set(mix) <= {"critic"} for mix in mixes.values())
    return {name: mix["critic"] for name, mix in mixes.items() if mix}


def test_presets_are_these_terms():
    first = ("custom", "turbo", "pix2pix", "cyclegan", "one_cycle")
    terms = {name: PRESETS[name].terms for name in first}
    found = {name: (on(t.paired), critics(t), on(t.identity)) for name, t in terms.items()}
    assert found == {
        "custom": ({}, {}, {}),
        "turbo": (
            {"z_tilde": 10, "x_tilde": 10, "x_hat": 1, "z_hat": 1},
            dict.fromkeys(OUTPUTS, 1),
            {},
        ),
        "pix2pix": ({"x_tilde": 100}, {"x_tilde": 1}, {}),
        "cyclegan": (
            {"x_hat": 10, "z_hat": 10},
            {"z_tilde": 1, "x_tilde": 1},
            {"x": 5, "z": 5},
        ),
        "one_cycle": ({"x_tilde": 10, "z_hat": 1}, {"x_tilde": 1, "z_hat": 1}, {}),
    }
    assert PRESETS["pix2pix"].terms.adversarial == "vanilla"
    assert PRESETS["pix2pix"].terms.conditional
    assert PRESETS["cyclegan"].terms.adversarial == "lsgan"
    assert PRESETS["cyclegan"].terms.pool == 50


def test_which_networks_a_preset_needs():
    assert not PRESETS["pix2pix"].terms.needs_encoder
    assert PRESETS["pix2pix"].terms.needs_decoder
    for name in ("turbo", "cyclegan", "one_cycle"):
        assert PRESETS[name].terms.needs_encoder
        assert PRESETS[name].terms.needs_decoder


def test_the_users_values_win_and_the_rest_is_the_presets():
    terms = resolve(
        ObjectiveConfig(
            preset="cyclegan",
            paired={"x_tilde": 3},
            marginal={"z_tilde": 0},
            distance={"x_hat": {"l2": 1, "fourier": 0.1}},
            adversarial="hinge",
            pool=0,
        )
    )
    assert on(terms.paired) == {"x_hat": 10, "z_hat": 10, "x_tilde": 3}
    assert critics(terms) == {"x_tilde": 1}
    assert terms.distance["x_hat"] == {"l2": 1, "fourier": 0.1}
    assert terms.distance["z_hat"] == {"l1": 1}
    assert (terms.adversarial, terms.pool, terms.identity["x"]) == ("hinge", 0, 5)
    assert set(terms.critics) == {"x_tilde"}
    assert PRESETS["cyclegan"].terms.marginal["z_tilde"] == {"critic": 1}


def test_a_bare_number_is_a_critic_and_a_mix_replaces_the_presets_term():
    section = {"x_tilde": 3, "z_tilde": {"mmd": 10}, "x_hat": {"critic": 0, "mmd": 0}}
    config = ObjectiveConfig(preset="turbo", marginal=section, mmd_scales=[0.5])
    assert config.model_dump(mode="json")["marginal"] == section  # as it was written
    terms = resolve(config)
    found = {name: terms.divergences(name) for name in OUTPUTS}
    assert found == {
        "x_tilde": {"critic": 3},
        "z_tilde": {"mmd": 10},
        "x_hat": {},
        "z_hat": {"critic": 1},
    }
    assert set(terms.critics) == {"x_tilde", "z_hat"}
    assert terms.mmd_scales == (0.5,)
    assert resolve(
        ObjectiveConfig(
            preset="turbo",
            shared_critics=True,
            conditional=True,
            marginal={"x_hat": {"mmd": 1}, "z_hat": 0},
        )
    ).critics == {"x": "x_tilde", "z": "z_tilde"}


def test_papers_without_a_preset_are_configurations():
    aae = resolve(ObjectiveConfig(preset="custom", paired={"x_hat": 1}, marginal={"z_tilde": 1}))
    assert (aae.needs_encoder, aae.needs_decoder, aae.critics) == (
        True,
        True,
        {"z_tilde": "z_tilde"},
    )
    gan = resolve(ObjectiveConfig(preset="custom", marginal={"x_tilde": 1}))
    assert (gan.needs_encoder, gan.needs_decoder) == (False, True)
    srgan = resolve(
        ObjectiveConfig(
            preset="custom",
            paired={"x_tilde": 1},
            marginal={"x_tilde": 1e-3},
            distance={"x_tilde": {"lpips": 1}},
            adversarial="vanilla",
        )
    )
    assert not srgan.needs_encoder


def test_shared_critics_are_one_a_space():
    terms = resolve(ObjectiveConfig(preset="turbo", shared_critics=True))
    assert set(terms.critics) == {"x", "z"}
    assert terms.critic_of("x_hat") == terms.critic_of("x_tilde") == "x"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"preset": "custom"}, "all weights are 0"),
        ({"paired": {"x_tilde": -1}}, "objective.paired.x_tilde = -1"),
        ({"marginal": {"x_hat": float("nan")}}, "objective.marginal.x_hat = nan"),
        ({"marginal": {"x_hat": {"mmd": -1}}}, "objective.marginal.x_hat.mmd = -1"),
        ({"marginal": {"x_hat": {"mdm": 1}}}, "no divergence 'mdm'; did you mean 'mmd'?"),
        ({"marginal": {"x_hat": {"energy": 1}}}, "no divergence 'energy'; take critic, mmd"),
        ({"identity": {"x": float("inf")}}, "objective.identity.x = inf"),
        ({"conditional": True, "shared_critics": True}, "cannot be shared"),
    ],
)
def test_nonsense_is_named(section, message):
    with pytest.raises(ImgturboError, match=message):
        resolve(ObjectiveConfig(**section))


def test_a_typing_error_is_answered_by_one_name(monkeypatch):
    monkeypatch.setitem(DIVERGENCES, "mmd2", DIVERGENCES["mmd"])
    with pytest.raises(ImgturboError, match=r"did you mean 'mmd2?'\?$"):
        resolve(ObjectiveConfig(marginal={"x_hat": {"mm": 1}}))


def test_what_nobody_sets_is_off():
    """The terms of a user who says nothing but weights."""
    terms = resolve(ObjectiveConfig(preset="custom", paired={"x_tilde": 0.5}))
    assert (terms.r1, terms.signal, terms.pool, terms.gradient_penalty) == (0, 0, 0, 10)
    assert terms.mmd_scales == Terms().mmd_scales == (0.05, 0.2, 0.9)
    assert not terms.conditional
    assert not terms.shared_critics
    assert terms == Terms(paired={**Terms().paired, "x_tilde": 0.5})
    assert all(mix == {"l1": 1} for mix in terms.distance.values())
    assert not Terms().needs_encoder
    assert not Terms().needs_decoder
    for space, needs in (("x", (False, True)), ("z", (True, False))):
        terms = resolve(ObjectiveConfig(preset="custom", identity={space: 1}))
        assert (terms.needs_encoder, terms.needs_decoder) == needs
