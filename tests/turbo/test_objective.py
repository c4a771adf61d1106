"""The objective: who counts, what is computed, where gradients go."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from turbo_standins import KINDS, make_batch, make_objective

from imgturbo.config import ObjectiveConfig
from imgturbo.turbo import objective as objective_module
from imgturbo.turbo.adversarial import MODES
from imgturbo.turbo.distances import Lpips
from imgturbo.turbo.presets import PRESETS, resolve
from imgturbo.turbo.terms import OUTPUTS

TURBO = PRESETS["turbo"].terms


def only(section, name, weight=1.0, **changes):
    return resolve(ObjectiveConfig(preset="custom", **{section: {name: weight}}, **changes))


def gradients(objective, loss):
    parameters = dict(objective.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


# --------------------------------------------------------------------------- where gradients go


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", ["paired", "marginal"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_every_term_reaches_its_generators_and_no_critic(kind, section, name):
    objective = make_objective(only(section, name), kind)
    # An odd number of samples: the signs of ℓ1 cannot cancel in the last bias.
    losses = objective(make_batch(kind, n=5, full=True, pairs=[True] * 5))
    found = gradients(objective, losses.generator)
    trained = {"z_tilde": ["encoder"], "x_tilde": ["decoder"]}.get(name, ["encoder", "decoder"])
    for parameter, gradient in found.items():
        if parameter.startswith("critics"):
            assert gradient is None
        else:
            assert parameter.split(".")[0] in trained
            assert (gradient != 0).any(), parameter
    if section == "marginal":
        found = gradients(objective, losses.critic)
        for parameter, gradient in found.items():
            if parameter.startswith("critics"):
                assert (gradient != 0).any(), parameter
            else:
                assert gradient is None


@pytest.mark.parametrize("distance", ["l2", "charbonnier", "fourier", "spectrum"])
def test_every_distance_reaches_the_generator(distance):
    terms = only("paired", "x_tilde", distance={"x_tilde": {distance: 1.0}})
    objective = make_objective(terms)
    found = gradients(objective, objective(make_batch(full=True)).generator)
    assert all((gradient != 0).any() for gradient in found.values())


def test_lpips_reaches_the_generator_and_changes_its_gradient():
    """In the published code it was computed on detached fakes and changed nothing."""
    terms = only("paired", "x_tilde", distance={"x_tilde": {"l1": 1.0}})
    batch = make_batch(size=(33, 40), full=True, pairs=[True] * 4)
    found = []
    for weight in (0.0, 1000.0):
        objective = make_objective(terms)
        mix = objective.distances["x_tilde"]
        mix.parts.append((weight, Lpips("alex", random_backbone=True)))
        found.append(gradients(objective, objective(batch).generator))
        assert set(objective.state_dict()) == {
            f"decoder.net.{n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias")
        }
    for name, gradient in found[0].items():
        assert (found[1][name] - gradient).norm() > 1e-3 * gradient.norm()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_backward_gives_every_parameter_its_gradient(mode, kind):
    terms = replace(TURBO, adversarial=mode, r1=0.1, identity={"x": 1.0, "z": 1.0}, pool=3)
    objective = make_objective(
        terms, kind, c=2, c2=2, scales=2 if kind == "conv" else 1, spectral=True
    )
    batch = make_batch(kind, c=2, c2=2)
    for _ in range(3):
        objective.zero_grad()
        losses = objective(batch)
        (losses.generator + losses.critic).backward()
        for name, parameter in objective.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            if not name.endswith("bias"):  # the last bias of wgan-gp cancels
                assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_lowers_a_paired_loss(kind):
    objective = make_objective(only("paired", "x_tilde"), kind)
    batch = make_batch(kind, pairs=[True, True, False, True])
    optimiser = torch.optim.SGD(objective.generator_parameters(), lr=1e-2)
    before = objective(batch).generator
    before.backward()
    optimiser.step()
    assert objective(batch).generator < before


# -------------------------------------------------------------------------------- who counts


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 50),
    mode=st.sampled_from(sorted(MODES)),
    conditional=st.booleans(),
    junk=st.sampled_from([5.0, float("nan")]),
)
def test_nothing_under_a_mask_is_felt(kind, seed, mode, conditional, junk):
    terms = replace(
        TURBO, adversarial=mode, r1=1.0, conditional=conditional, identity={"x": 1.0, "z": 1.0}
    )
    batch = make_batch(kind, c=2, c2=2, seed=seed)
    dirty = replace(
        batch,
        z=torch.where(batch.z_valid, batch.z, junk),
        x=torch.where(batch.x_valid, batch.x, junk),
    )
    found = []
    for one in (batch, dirty):
        objective = make_objective(terms, kind, c=2, c2=2, seed=seed)
        torch.manual_seed(seed)
        losses = objective(one)
        found.append((losses, gradients(objective, losses.generator + losses.critic)))
    (clean, clean_gradients), (again, again_gradients) = found
    assert torch.equal(clean.generator, again.generator)
    assert torch.equal(clean.critic, again.critic)
    for name, gradient in clean_gradients.items():
        assert torch.isfinite(gradient).all()
        assert torch.equal(gradient, again_gradients[name])


def test_paired_terms_act_on_pairs_and_cycles_on_all():
    """A sample moves a loss exactly if that loss may use it."""
    uses = {f"L/{o}": o.endswith("_hat") for o in OUTPUTS} | {f"D/{o}": True for o in OUTPUTS}
    batch = make_batch(pairs=[True, True, False, True], full=True)
    moved_z, moved_x = batch.z.clone(), batch.x.clone()
    moved_z[2] += 1
    moved_x[2] -= 1
    objective = make_objective(TURBO)
    before = objective(batch).terms
    after = objective(replace(batch, z=moved_z, x=moved_x)).terms
    for name, used in uses.items():
        assert bool(after[name] != before[name]) == used, name


def test_a_conditional_critic_judges_pairs_only():
    batch = make_batch(pairs=[True, True, False, True], full=True)
    moved = batch.z.clone()
    moved[2] += 1
    objective = make_objective(PRESETS["pix2pix"].terms)
    before, after = objective(batch), objective(replace(batch, z=moved))
    assert torch.equal(before.critic, after.critic)
    assert torch.equal(before.generator, after.generator)


def test_real_and_fake_wear_the_mask_that_both_have():
    objective = make_objective(only("marginal", "x_tilde"))
    batch = make_batch(pairs=[True, False, True, False])
    objective(batch)
    both = batch.z_valid & batch.x_valid
    for part in objective.critics["x_tilde"].seen[-1].chunk(2):
        assert torch.equal((part != 0).all(1, keepdim=True), both)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preset", ["turbo", "pix2pix"])
@pytest.mark.parametrize("empty", ["pairs", "masks"])
def test_nothing_to_act_on_is_zero_not_nan(mode, preset, empty):
    terms = replace(PRESETS[preset].terms, adversarial=mode, r1=1.0)
    batch = make_batch(pairs=[empty == "masks"] * 4)
    if empty == "masks":
        nothing = torch.zeros_like(batch.z_valid)
        batch = replace(batch, z_valid=nothing, x_valid=nothing)
    objective = make_objective(terms, spectral=True)
    losses = objective(batch)
    assert losses.terms["L/x_tilde"] == 0
    (losses.generator + losses.critic).backward()
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    if empty == "masks":
        assert losses.generator == 0
        assert losses.critic == 0


# --------------------------------------------------------------------------- what is computed


def test_each_output_is_computed_once():
    objective = make_objective(TURBO)
    objective(make_batch())
    assert (objective.encoder.calls, objective.decoder.calls) == (2, 2)
    objective = make_objective(PRESETS["one_cycle"].terms)
    objective(make_batch())
    assert (objective.encoder.calls, objective.decoder.calls) == (1, 1)


def test_pix2pix_owns_no_encoder_and_needless_networks_are_refused():
    objective = make_objective(PRESETS["pix2pix"].terms)
    assert objective.encoder is None
    assert len(objective.generator_parameters()) == len(list(objective.decoder.parameters()))
    whole = make_objective(TURBO)
    with pytest.raises(ValueError, match="need no encoder"):
        objective_module.Objective(
            whole.encoder, objective.decoder, objective.critics, PRESETS["pix2pix"].terms
        )
    with pytest.raises(ValueError, match="need an encoder"):
        objective_module.Objective(None, whole.decoder, whole.critics, TURBO)
    with pytest.raises(ValueError, match="critics"):
        objective_module.Objective(whole.encoder, whole.decoder, {}, TURBO)


def test_parameters_are_shared_out_between_the_two_optimisers():
    objective = make_objective(TURBO)
    generators = {id(p) for p in objective.generator_parameters()}
    critics = {id(p) for p in objective.critic_parameters()}
    assert generators.isdisjoint(critics)
    assert generators | critics == {id(p) for p in objective.parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_is_left_as_it_was(kind):
    """turbo-sim added its noise in place, so the "truth" was noisy and pairs were shuffled."""

    def noise(layer, shape, stride, like):
        return torch.randn(shape, dtype=like.dtype)

    batch = make_batch(kind)
    found = {f.name: getattr(batch, f.name) for f in fields(batch)}
    before = {name: part for name, part in found.items() if isinstance(part, torch.Tensor)}
    copies = {name: tensor.clone() for name, tensor in before.items()}
    objective = make_objective(replace(TURBO, pool=2), kind, stochastic=True, noise=noise)
    losses = objective(batch)
    (losses.generator + losses.critic).backward()
    for name, copy in copies.items():
        assert torch.equal(before[name], copy)
        assert before[name].grad is None


def test_no_critic_sees_a_masked_pixel():
    objective = make_objective(replace(TURBO, adversarial="wgan-gp"))
    batch = make_batch(pairs=[False] * 4)
    objective(batch)
    for name, valid in (("x_hat", batch.x_valid), ("z_hat", batch.z_valid)):
        for seen in objective.critics[name].seen:
            for part in seen.split(4):
                assert (part.masked_select(~valid) == 0).all()


def test_shared_critics_judge_both_outputs_of_a_space():
    objective = make_objective(replace(TURBO, shared_critics=True))
    assert set(objective.critics) == {"x", "z"}
    losses = objective(make_batch())
    assert {"critic/x_hat", "critic/x_tilde"} <= set(losses.terms)


def test_terms_add_up_to_the_losses():
    terms = replace(TURBO, adversarial="wgan-gp", r1=0.3, identity={"x": 2.0, "z": 3.0})
    losses = make_objective(terms, c=2, c2=2, scales=2)(make_batch(c=2, c2=2))
    weights = {f"L/{o}": TURBO.paired[o] for o in OUTPUTS} | {f"D/{o}": 1.0 for o in OUTPUTS}
    weights |= {"identity/x": 2.0, "identity/z": 3.0}
    torch.testing.assert_close(
        sum(w * losses.terms[n] for n, w in weights.items()), losses.generator.detach()
    )
    critic = sum(
        w * losses.terms[f"{n}/{o}"]
        for o in OUTPUTS
        for n, w in (("critic", 1.0), ("penalty", 10.0), ("r1", 0.3))
    )
    torch.testing.assert_close(critic, losses.critic.detach())
    assert not any(term.requires_grad for term in losses.terms.values())


@pytest.mark.parametrize("mode", MODES)
def test_losses_are_summed_in_single_precision_under_autocast(mode):
    terms = replace(TURBO, adversarial=mode, conditional=True, r1=1.0, pool=2)
    objective, batch = make_objective(terms), make_batch()
    torch.manual_seed(0)
    full = objective(batch)
    objective = make_objective(terms)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        half = objective(batch)
    (half.generator + half.critic).backward()
    for one, other in zip(full[:2], half[:2], strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, one, rtol=0.03, atol=0.03)
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters())


def test_the_whole_step_resumes_exactly_with_pools():
    terms = replace(PRESETS["turbo"].terms, pool=5, conditional=True)

    def run(objective, first, last):
        optimiser = torch.optim.SGD(objective.parameters(), lr=1e-2)
        for step in range(first, last):
            torch.manual_seed(step)
            optimiser.zero_grad()
            losses = objective(make_batch(seed=step))
            (losses.generator + losses.critic).backward()
            optimiser.step()

    whole = make_objective(terms)
    run(whole, 0, 4)
    resumed = make_objective(terms, seed=1)
    resumed.load_state_dict(whole.state_dict())
    resumed.load_state_beside(whole.state_beside())
    run(whole, 4, 8)
    run(resumed, 4, 8)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert make_objective(TURBO).state_beside() == {}
