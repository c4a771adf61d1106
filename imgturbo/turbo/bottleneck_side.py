r"""The side of the information bottleneck: what the encoder passes on is minimised.

    min  I_φ(X; Z) − β I(Z; X),      I_φ(X; Z) = E KL(q_φ(z | x) ‖ p(z)) − KL(q̃_φ(z) ‖ p(z))

z is a code with a prior p(z) = N(0, 1) and the encoder has a Gaussian head (``head: gaussian``).
The first term is the divergence ``kl``; the second one, of the aggregated codes, is any divergence
between samples of z̃ and draws. Dropped, as in the VAE, what is minimised is an upper bound of
I_φ(X; Z); with a plus sign, as models are trained with it, the codes are made to fill the prior.
TURBO's critique is that all these make codes forget (Voloshynovskiy et al. 2019, arXiv:1912.00830;
Quétant et al. 2023, Entropy 25, 1471, section 3).

L(x̂) = ½ ‖x − x̂‖² of a sample's entries added up is −log p(x | z) of unit variance, in nats as KL
is; for noise of variance s² the weight of x_hat is 1/(2 s²), and its inverse is the β of a β-VAE.
"""

from __future__ import annotations

from dataclasses import replace

from imgturbo.turbo.family import Preset, divergences, lengths, weights
from imgturbo.turbo.terms import Terms

__all__ = ["BOTTLENECK_SIDE"]

_PRIOR = "a prior N(0, 1)"
_DATA = "data"


def _likelihood(distance: str = "l2") -> Terms:
    """−log p(x | z) up to a constant, without any D."""
    return Terms(
        paired=weights(x_hat=0.5), distance=lengths(x_hat={distance: 1.0}), reduction="sum"
    )


def _with(terms: Terms, **mixes: dict[str, float]) -> Terms:
    return replace(terms, marginal=divergences(**mixes), adversarial="vanilla")


BOTTLENECK_SIDE: dict[str, Preset] = {
    "vae": Preset(
        about="""L(x̂), the log-likelihood, and D(z̃) = 1, the KL of each posterior: together the
        negative evidence lower bound, with one draw a sample.""",
        paper="Kingma & Welling 2013, arXiv:1312.6114",
        z=_PRIOR,
        x=_DATA,
        terms=_with(_likelihood(), z_tilde={"kl": 1}),
    ),
    "beta_vae": Preset(
        about="The VAE with D(z̃) = β = 4: a narrower bottleneck.",
        paper="Higgins et al. 2017, ICLR (openreview Sy2fzU9gl)",
        z=_PRIOR,
        x=_DATA,
        terms=_with(_likelihood(), z_tilde={"kl": 4}),
    ),
    "info_vae": Preset(
        about="""L(x̂), and two divergences of z̃: (1 − α) kl + (α + λ − 1) mmd, here with α = 0, λ =
        10. The paper leaves both free: λ so that the losses of both spaces are of one size; α = 1
        is the MMD-VAE (marginal z_tilde kl 0). Kernels are inverse multiquadric, theirs Gaussian.
        """,
        paper="Zhao et al. 2017, arXiv:1706.02262",
        z=_PRIOR,
        x=_DATA,
        terms=_with(_likelihood(), z_tilde={"kl": 1, "mmd": 9}),
    ),
    "vae_gan": Preset(
        about="""D(z̃) = 1, kl; L(x̂) in the features of the critic; D(x̂) = D(x̃) = 1 by one critic,
        of reconstructions and of draws, which do not reach the encoder (detach), as L(x̂) does not
        reach the critic. The γ that weighs L(x̂) in the decoder's loss alone is 1; Adam minds no
        common factor of a network's loss, so that for another γ the Ds are 1/γ. The critic meets
        the data once for each of its two kinds of fakes.""",
        paper="Larsen et al. 2015, arXiv:1512.09300",
        z=_PRIOR,
        x=_DATA,
        terms=replace(
            _with(
                _likelihood("features"),
                z_tilde={"kl": 1}, x_hat={"critic": 1}, x_tilde={"critic": 1},
            ),
            shared_critics=True,
            detach=True,
        ),
    ),
    "bib_ae": Preset(
        about="""L(x̂), D(x̂) = 1 by a critic, and two divergences of z̃: kl of each posterior and a
        critic of all codes. Strictly I_φ(X; Z) has the latter with a minus sign; it is trained
        with a plus (Buhmann et al. 2020, arXiv:2005.05334), which makes codes fill the prior, and
        so is it here: weights are never negative.""",
        paper="Voloshynovskiy et al. 2019, arXiv:1912.00830",
        z=_PRIOR,
        x=_DATA,
        terms=_with(_likelihood(), z_tilde={"kl": 1, "critic": 1}, x_hat={"critic": 1}),
    ),
    "club": Preset(
        about="""The unsupervised bound, without a sensitive attribute: complexity, kl and a critic
        of z̃; utility, L(x̂) and D(x̂) = 1; and D(x̃) = 1, of what the decoder makes of draws. The
        third part of the complexity-leakage-utility bottleneck, leakage, is about labels s that
        neither of the spaces holds; without it CLUB differs from BIB-AE by D(x̃) alone.""",
        paper="Razeghi et al. 2022, arXiv:2207.04895",
        z=_PRIOR,
        x=_DATA,
        terms=_with(
            _likelihood(),
            z_tilde={"kl": 1, "critic": 1}, x_hat={"critic": 1}, x_tilde={"critic": 1},
        ),
    ),
}  # fmt: skip
