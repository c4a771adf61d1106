"""The eight-term objective: both losses of a step in one forward.

The encoder q_φ: x → z̃ and the decoder p_θ: z → x̃ are composed into two paths,

    direct   x → z̃ → x̂        reverse   z → x̃ → ẑ

and each of the four outputs û ∈ {z̃, x̂, x̃, ẑ} may have one paired term L(u, û) and one marginal
term D(û) (see ``presets`` for the sum, ``distances`` for L, ``divergences`` for D):

    L_generator = Σ_û λ_û L(u, û) + Σ_û D(û) + ι_x ‖decoder(x) − x‖₁ + ι_z ‖encoder(z) − z‖₁
    L_critic    = Σ_û critic loss of û,                 D(û) = Σ_i δ_ûi D_i(û)

Who counts: L(z̃) and L(x̃) act on the samples whose pair is known, L(x̂) and L(ẑ) compare with the
network's own input and act on all, D acts on all; a conditional critic judges pairs, so it acts on
pairs. An output is valid where its network carries the validity of the input to (``spaces``).
Nothing under a mask reaches a network, a critic or a loss.

Neither loss sees the other's parameters: the critics are frozen (called on detached parameters)
within the generators' loss, the fakes detached within the critics'. So
``(generator + critic).backward()`` gives every parameter its gradient, and DDP wraps once.

The networks may be anything that maps (B, C, …) to (B, C', …): convolutions on images, dense
layers on tables of numbers, or maps from one to the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.losses import Ledger, Losses, Trainable
from imgturbo.nets.answer import Answer
from imgturbo.nets.generator import GROWTH
from imgturbo.nets.operators import observer
from imgturbo.turbo.adversarial import MODES
from imgturbo.turbo.distances import GAUSSIAN, Mix, l1
from imgturbo.turbo.divergences import DIVERGENCES
from imgturbo.turbo.spaces import Contest, Output, Samples, carried, contest, require_like
from imgturbo.turbo.terms import OUTPUTS, SPACE, Terms

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch
    from imgturbo.data.source import Source

__all__ = ["Objective"]

_CONSISTENCY = "forward/consistency"


class Objective(Trainable):
    """Networks, critics and weights; ``objective(batch)`` gives both losses.

    Args:
        encoder: x → z, or None where no term needs it.
        decoder: z → x, or None where no term needs it.
        critics: by name as in ``terms.critics``; each maps (u, condition or None) to a list of
            score maps, one a scale.
        terms: the weights.
        noise: given to the generators that say they are ``stochastic``.
        scales: of the stretches of the spaces z and x, a number a channel, 0 for a linear one; for
            the distance ``flux``.

    Raises:
        ValueError: a network that ``terms`` needs is missing, or one that it does not need is
            given (DDP would wait for its gradient), unless it shares the other's weights.
        ImgturboError: a term that asks of a network what it does not tell.
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
        critics: Mapping[str, nn.Module],
        terms: Terms,
        noise: Callable[..., Tensor] | None = None,
        scales: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        for name, network, needed in (
            ("encoder", encoder, terms.needs_encoder),
            ("decoder", decoder, terms.needs_decoder),
        ):
            unused = network is not None and (
                _one_network(encoder, decoder) or observer(network) is not None
            )
            if (network is not None) != needed and not unused:
                raise ValueError(f"these terms need {'an' if needed else 'no'} {name}")
        if set(critics) != set(terms.critics):
            raise ValueError(f"critics {sorted(critics)} given, {sorted(terms.critics)} needed")
        self.encoder, self.decoder = encoder, decoder
        self.critics = nn.ModuleDict(critics)
        self.terms, self.noise = terms, noise
        instrument = observer(encoder)
        if instrument is not None and instrument.stochastic and decoder is not None:
            self.own_scores = {_CONSISTENCY: False}
        self.distances = {
            name: Mix(
                terms.distance[name],
                terms.signal,
                (scales or {}).get(SPACE[name]),
                None if terms.is_conditional(name) else critics.get(terms.critic_of(name)),
            )
            for name in OUTPUTS
            if terms.paired[name]
        }
        self.divergences = {
            name: {
                kind: DIVERGENCES[kind](terms, name, critics.get(terms.critic_of(name)))
                for kind in terms.divergences(name)
            }
            for name in OUTPUTS
        }
        self._refuse_silent_maps()

    def _refuse_silent_maps(self) -> None:
        """Refuse terms that ask of a network what it does not tell."""
        for name in OUTPUTS:
            way = "encoder" if SPACE[name] == "z" else "decoder"
            tells = getattr(getattr(self, way), "tells", ())
            asked = [
                ("marginal", kind, str(judge.needs))
                for kind, judge in self.divergences[name].items()
            ]
            if name in self.distances:
                asked.append(("distance", GAUSSIAN, self.distances[name].needs))
            for key, kind, needs in asked:
                if needs and needs not in tells:
                    remedy = _REMEDY[needs].format(way)
                    raise ImgturboError(f"objective.{key}.{name}: {kind} {remedy}")

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the maps, and the critics unless their gradients are penalised.

        A compiled network has no second derivative, which the penalties need.
        """
        super().compile(*args, **kwargs)
        slopes = MODES[self.terms.adversarial].penalised and self.terms.gradient_penalty
        if not (slopes or self.terms.r1):
            for critic in self.critics.values():
                critic.compile(*args, **kwargs)

    # ------------------------------------------------------------------------------ forward

    def forward(self, batch: Batch) -> Losses:
        """Both losses of one step. With several processes this is a collective call.

        Args:
            batch: ``z`` (B, C, …), ``x`` (B, C', …), ``z_valid`` and ``x_valid`` (B, 1, …),
                ``paired`` (B,); nothing in it is changed.
        """
        terms, ledger, batch = self.terms, Ledger(), self.observe(batch)
        real = {
            "z": Samples(batch.z, batch.z_valid).masked(),
            "x": Samples(batch.x, batch.x_valid).masked(),
        }
        outputs = self._outputs(**real)
        for name in OUTPUTS:
            if weight := terms.paired[name]:
                (output, posterior, _), truth = outputs[name], real[SPACE[name]]
                valid = truth.valid & output.valid
                if name.endswith("_tilde"):
                    valid = valid & batch.paired.view(-1, *[1] * (valid.ndim - 1))
                total, entries = self.distances[name](output.data, truth.data, valid, posterior)
                if terms.reduction == "sum":
                    entries = entries > 0
                ledger.add(f"L/{name}", "generator", weight, total, entries)
        for space, network in (("x", self.decoder), ("z", self.encoder)):
            if weight := terms.identity[space]:
                same, *_ = self._run(f"identity of {space}", network, real[space], real[space])
                found = l1(same.data, *real[space])
                ledger.add(f"identity/{space}", "generator", weight, *found)
        outputs |= self._again(outputs, **real) if terms.detach else {}
        for name in OUTPUTS:
            own, other = (real[space] for space in ("zx" if SPACE[name] == "z" else "xz"))
            for kind, divergence in self.divergences[name].items():
                judged = contest(
                    name, outputs[name], own, other, batch.paired, divergence.conditional
                )
                self._judge(ledger, name, kind, judged)
        return ledger.settle()

    def _judge(self, ledger: Ledger, name: str, kind: str, judged: Contest) -> None:
        """Enter one divergence of one output into the generators' and the critics' loss."""
        divergence, label = self.divergences[name][kind], _label(name, kind)
        weight = self.terms.marginal[name][kind]
        for total, entries, share, term, _ in divergence.generator(judged):
            ledger.add(f"{term}/{label}", "generator", weight, total, entries, share)
        for total, entries, share, term, weight in divergence.opponent(judged):
            ledger.add(f"{term}/{label}", "critic", weight, total, entries, share)

    def _run(
        self, name: str, network: nn.Module | None, samples: Samples, truth: Samples
    ) -> Output:
        """An output, not yet masked; ``truth`` are the data of the space that it lives in."""
        assert network is not None  # __init__ has checked it against the terms
        noise = self.noise if getattr(network, "stochastic", False) else None
        data = samples.data
        answer = getattr(network, "answer", None)  # any module may be a map
        output, *told = answer(data, noise) if answer else Answer(network(data, noise))
        output = output.to(data.dtype)  # autocast may have halved the precision
        require_like(name, output, truth.data)
        return Output(Samples(output, carried(network, samples.valid, output)), *told)

    def _outputs(self, z: Samples, x: Samples) -> dict[str, Output]:
        """Those of z̃, x̂, x̃, ẑ that some term needs, each computed once.

        The second network of a path sees 0 where its input is not valid, as it does in data.
        """
        needs = self.terms.needs
        outputs: dict[str, Output] = {}
        if needs("z_tilde") or needs("x_hat"):
            outputs["z_tilde"] = self._run("z_tilde", self.encoder, x, z)
        if needs("x_hat"):
            z_tilde = outputs["z_tilde"].samples.masked()
            outputs["x_hat"] = self._run("x_hat", self.decoder, z_tilde, x)
        if needs("x_tilde") or needs("z_hat"):
            outputs["x_tilde"] = self._run("x_tilde", self.decoder, z, x)
        if needs("z_hat"):
            x_tilde = outputs["x_tilde"].samples.masked()
            outputs["z_hat"] = self._run("z_hat", self.encoder, x_tilde, z)
        return outputs

    def _again(self, outputs: Mapping[str, Output], z: Samples, x: Samples) -> dict[str, Output]:
        """Hats made once more of tildes without gradient, where a divergence looks at them."""
        paths = {
            "x_hat": ("z_tilde", self.decoder, x),
            "z_hat": ("x_tilde", self.encoder, z),
        }
        found = {}
        for name, (before, network, truth) in paths.items():
            if self.divergences[name]:
                given = outputs[before].samples.masked()
                alone = Samples(given.data.detach(), given.valid)
                found[name] = self._run(name, network, alone, truth)
        return found

    # ------------------------------------------------------------------------- observations

    @torch.no_grad()
    def observe(self, batch: Batch, maps: Mapping[str, nn.Module] | None = None) -> Batch:
        """z = A⁺(A z + σ ε) by the physical encoder, where z is the sky to be observed."""
        if batch.noise is None:
            return batch
        encoder = observer(self.encoder if maps is None else maps["encoder"])
        assert encoder is not None  # such data go with such an encoder, see open_source
        return dataclasses.replace(batch, z=encoder.observe(batch.z, batch.noise), noise=None)

    def scores(
        self, maps: Mapping[str, nn.Module], batch: Batch, number: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """‖A x̃ − y‖² over σ² and the measurements: 1 where x̃ explains z to within the noise.

        Of samples that are measured everywhere: what x̃ should be elsewhere nobody says.
        """
        encoder = observer(maps.get("encoder"))
        if not self.own_scores or encoder is None:
            return {}
        whole = batch.z_valid.flatten(1).all(1)
        squares, entries = encoder.residual(maps["decoder"](batch.z).float(), batch.z)
        total = squares[whole].sum() / encoder.sigma.double() ** 2
        return {_CONSISTENCY: (total, entries * whole.sum())}

    # ------------------------------------------------------------------- parameters, state

    def check(self, source: Source) -> None:
        """Beside what every engine refuses: images far smaller than one patch of a critic."""
        super().check(source)
        extents = dict(zip("zx", source.extents(), strict=True))
        for name, critic in self.critics.items():
            judged = SPACE[self.terms.critics[name]]
            smallest, extent = getattr(critic, "smallest", 0), extents[judged]
            if extent is not None and smallest > GROWTH * extent:
                raise ImgturboError(
                    f"{source.name}: the critic {name} judges images of {smallest} pixels and "
                    f"more, and data.crop or prepare.tile.size is {extent}; lower "
                    "model.critic.layers or scales, or make larger tiles"
                )

    def terms_by_pairs(self) -> dict[str, bool]:
        """The terms of the generators' loss, each with whether pairs alone count in it."""
        terms = self.terms
        found = {f"L/{name}": name.endswith("_tilde") for name in OUTPUTS if terms.paired[name]}
        found |= {f"identity/{space}": False for space in ("x", "z") if terms.identity[space]}
        return found | {
            f"D/{_label(name, kind)}": divergence.conditional
            for name, kinds in self.divergences.items()
            for kind, divergence in kinds.items()
        }

    def sides_of_terms(self) -> dict[str, tuple[str, ...]]:
        """A tilde is compared with the other side; a hat and an identity with their own input."""
        sides = {"z": ("source",), "x": ("target",)}
        own = {f"L/{name}": sides[SPACE[name]] for name in OUTPUTS if name.endswith("_hat")}
        own |= {f"identity/{space}": side for space, side in sides.items()}
        own |= {
            f"D/{_label(name, kind)}": sides[SPACE[name]]
            for name, kinds in self.divergences.items()
            for kind in kinds
            if name.endswith("_hat")
        }
        return {name: own.get(name, both) for name, both in super().sides_of_terms().items()}

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters of all critics, for their optimiser; empty without marginal terms."""
        return list(self.critics.parameters())

    def state_beside(self) -> dict[str, Tensor]:
        """This process's image pools as a flat dictionary of tensors; empty without pools."""
        return {
            f"{_label(name, kind)}.{key}": tensor
            for name, kinds in self.divergences.items()
            for kind, divergence in kinds.items()
            for key, tensor in divergence.state().items()
        }

    def load_state_beside(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state_beside`` of the same process gave."""
        device = next(self.parameters()).device
        for name, kinds in self.divergences.items():
            for kind, divergence in kinds.items():
                prefix = f"{_label(name, kind)}."
                own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                divergence.load_state(own, device)


def _one_network(encoder: nn.Module | None, decoder: nn.Module | None) -> bool:
    """Whether the two are ways through the same weights, so that training one trains both."""
    if encoder is None or decoder is None:
        return False
    return {id(p) for p in encoder.parameters()} == {id(p) for p in decoder.parameters()}


_REMEDY = {
    "posterior": (
        "asks for the spread of each output, and the {0} gives one answer; set model.{0}.head to "
        "gaussian"
    ),
    "log_det": (
        "is of an invertible network, which the {0} is not; set model.decoder.kind to invertible"
    ),
}
"""What is said where a map does not tell what a term asks for."""


def _label(output: str, divergence: str) -> str:
    """What a divergence of an output is called; the critic, the usual one, by the output alone."""
    return output if divergence == "critic" else f"{output}/{divergence}"
