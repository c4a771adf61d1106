r"""The side of TURBO: mutual information is maximised in both spaces, whose priors are data.

    max  I(X; Z̃) + α I(X; X̂) + γ [I(Z; X̃) + β I(Z; Ẑ)]

each bounded from below by a paired and a marginal term (Quétant et al. 2021, arXiv:2112.10629, eq.
4–8; 2023, Entropy 25, 1471, sections 4 and 5). What the models below leave out tells them apart:
paired terms need pairs, marginal ones do not, and a space is either measured or drawn.
"""

from __future__ import annotations

from dataclasses import replace

from imgturbo.turbo.family import Preset, critics, divergences, lengths, weights
from imgturbo.turbo.terms import Terms

__all__ = ["TURBO_SIDE"]

_DATA = "data"
_PAIRED = "data, paired"
_PRIOR = "a prior"
_TURBO_SIM = "Quétant et al. 2021, arXiv:2112.10629"

_TURBO = Terms(
    paired=weights(z_tilde=10, x_hat=1, x_tilde=10, z_hat=1),
    marginal=critics(z_tilde=1, x_hat=1, x_tilde=1, z_hat=1),
)
_REVERSE = Preset(
    about="""The reverse path alone, z → x̃ → ẑ (eq. 7): L(x̃), D(x̃), L(ẑ), D(ẑ), weights as in
    turbo. It needs no term of the direct path, and is the 'one cycle' of Hubble Meets Webb.""",
    paper=_TURBO_SIM,
    z=_PAIRED,
    x=_PAIRED,
    terms=Terms(paired=weights(x_tilde=10, z_hat=1), marginal=critics(x_tilde=1, z_hat=1)),
)
_PIX2PIX = Preset(
    about="""L(x̃) = 100 in ℓ1 against a blurred mean, D(x̃) = 1 against what a mean never looks like:
    a critic conditional on z, vanilla. The encoder has no term. Dropout, the paper's noise, is
    the network's matter.""",
    paper="Isola et al. 2017, arXiv:1611.07004",
    z=_PAIRED,
    x=_PAIRED,
    terms=Terms(
        paired=weights(x_tilde=100),
        marginal=critics(x_tilde=1),
        adversarial="vanilla",
        conditional=True,
    ),
)


def _regression(about: str, distance: dict[str, float]) -> Preset:
    return Preset(
        about=about,
        paper="Kinakh et al. 2024, Sensors 24, 1151",
        z=_PAIRED,
        x=_PAIRED,
        terms=Terms(paired=weights(x_tilde=1), distance=lengths(x_tilde=distance)),
    )


TURBO_SIDE: dict[str, Preset] = {
    "turbo": Preset(
        about="""All eight terms: L(z̃) = L(x̃) = 10 where pairs are known, L(x̂) = L(ẑ) = 1 and every
        D = 1 on all samples. The cycles are light on purpose. What z lacks, x̃ must invent, and
        what it invents a faithful cycle must be able to undo: with L(x̂) = L(ẑ) = 10 as well the
        pair hides the input's noise in its outputs instead of denoising (on a small simulated pair
        the mean squared error of x̃ was 0.021 with 10, 0.013 with 1, 0.011 with neither cycles nor
        critics).""",
        paper=_TURBO_SIM,
        z=_PAIRED,
        x=_PAIRED,
        terms=_TURBO,
    ),
    "turbo_direct": Preset(
        about="""The direct path alone, x → z̃ → x̂ (eq. 4): L(z̃), D(z̃), L(x̂), D(x̂), weights as in
        turbo.""",
        paper=_TURBO_SIM,
        z=_PAIRED,
        x=_PAIRED,
        terms=Terms(paired=weights(z_tilde=10, x_hat=1), marginal=critics(z_tilde=1, x_hat=1)),
    ),
    "turbo_reverse": _REVERSE,
    "one_cycle": replace(_REVERSE, about="The former name of turbo_reverse."),
    "turbo_same_critic": Preset(
        about="""All eight terms of turbo, the two outputs of a space judged by one critic, which
        then meets the data of its space twice a step. The row 'same D' of Hubble Meets Webb.""",
        paper="Kinakh et al. 2024, Sensors 24, 1151",
        z=_PAIRED,
        x=_PAIRED,
        terms=replace(_TURBO, shared_critics=True),
    ),
    "pix2pix": _PIX2PIX,
    "pix2pix_lpips": Preset(
        about="""pix2pix with L(x̃) = 100 ℓ1 + 10 LPIPS, which asks for features that look alike.
        Needs the weights of the network that judges. (What the released code of that name trained
        had no critic: preset custom, paired x_tilde 5, distance l2 1 and lpips 0.2.)""",
        paper="Kinakh et al. 2024, Sensors 24, 1151",
        z=_PAIRED,
        x=_PAIRED,
        terms=replace(_PIX2PIX.terms, distance=lengths(x_tilde={"l1": 1.0, "lpips": 0.1})),
    ),
    "l1": _regression("L(x̃) alone, in ℓ1: the median of what may be seen.", {"l1": 1.0}),
    "l2": _regression("L(x̃) alone, in ℓ2²: the mean of what may be seen.", {"l2": 1.0}),
    "elastic_net": _regression("L(x̃) alone, half in ℓ1 and half in ℓ2².", {"l1": 0.5, "l2": 0.5}),
    "srgan": Preset(
        about="""L(x̃) = 1, the content, and D(x̃) = 10⁻³, a critic that sees x̃ alone, vanilla. The
        content is the mean squared error (SRGAN-MSE of the paper's table 1); with features of VGG,
        as most use it, distance x_tilde is lpips.""",
        paper="Ledig et al. 2017, arXiv:1609.04802",
        z="data on a coarser grid, paired",
        x=_PAIRED,
        terms=Terms(
            paired=weights(x_tilde=1),
            distance=lengths(x_tilde={"l2": 1.0}),
            marginal=critics(x_tilde=1e-3),
            adversarial="vanilla",
        ),
    ),
    "cyclegan": Preset(
        about="""D(z̃) = D(x̃) = 1 make the outputs look as their space does, L(x̂) = L(ẑ) = 10 keep
        them bound to the input where there are no pairs; lsgan, a pool of 50 past fakes, and
        identity 5 + 5, which is none of the eight terms.""",
        paper="Zhu et al. 2017, arXiv:1703.10593",
        z=_DATA,
        x=_DATA,
        terms=Terms(
            paired=weights(x_hat=10, z_hat=10),
            marginal=critics(z_tilde=1, x_tilde=1),
            identity={"x": 5.0, "z": 5.0},
            pool=50,
        ),
    ),
    "aae": Preset(
        about="""The direct path onto a prior: D(z̃) = 1, a critic (vanilla) that compares codes with
        draws, and L(x̂) = 1 in ℓ2². The two are minimised together, not in alternate phases. No
        information is bottled up: D looks at the distribution of all codes, not at each one's.""",
        paper="Makhzani et al. 2015, arXiv:1511.05644",
        z=_PRIOR,
        x=_DATA,
        terms=Terms(
            paired=weights(x_hat=1),
            distance=lengths(x_hat={"l2": 1.0}),
            marginal=critics(z_tilde=1),
            adversarial="vanilla",
        ),
    ),
    "gan": Preset(
        about="D(x̃) = 1 alone, vanilla: a decoder of draws that a critic cannot tell from data.",
        paper="Goodfellow et al. 2014, arXiv:1406.2661",
        z=_PRIOR,
        x=_DATA,
        terms=Terms(marginal=critics(x_tilde=1), adversarial="vanilla"),
    ),
    "wgan_gp": Preset(
        about="""D(x̃) = 1 alone, the Wasserstein distance by a critic whose slope is held at 1: λ =
        10, five steps of the critic for one of the decoder.""",
        paper="Gulrajani et al. 2017, arXiv:1704.00028",
        z=_PRIOR,
        x=_DATA,
        terms=Terms(marginal=critics(x_tilde=1), adversarial="wgan-gp", gradient_penalty=10.0),
        critic_steps=5,
    ),
    "alae": Preset(
        about="""The reverse path from a prior: D(x̃) = 1, vanilla with r1 = 10, and L(ẑ) = 1 in ℓ2²,
        reciprocity in the space of codes rather than of data. As TURBO reads it (2023, section
        4.3). In ALAE the critic is a layer on top of the encoder, D ∘ E, and so judges codes, and
        the code w is a learnt map of the draw; here the critic has layers of its own, and that map
        is the decoder's first layers, so that ẑ is compared with the draw itself.""",
        paper="Pidhorskyi et al. 2020, arXiv:2004.04467",
        z=_PRIOR,
        x=_DATA,
        terms=Terms(
            paired=weights(z_hat=1),
            distance=lengths(z_hat={"l2": 1.0}),
            marginal=critics(x_tilde=1),
            adversarial="vanilla",
            r1=10.0,
        ),
    ),
    "flow": Preset(
        about="""Encoder and decoder are one invertible network, x̂ = x and ẑ = z by construction:
        of eight terms D(z̃) is left, in closed form, −log p(x) by the change of variables. It is
        D(x̃) as well: KL(p_x ‖ p̃_x) = KL(q̃_z ‖ p_z). Goes with model.decoder.kind invertible.""",
        paper="Dinh et al. 2014, arXiv:1410.8516",
        z=_PRIOR,
        x=_DATA,
        terms=Terms(marginal=divergences(z_tilde={"likelihood": 1.0})),
    ),
}
