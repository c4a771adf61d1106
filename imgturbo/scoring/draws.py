"""What a bundle draws for observations of a simulator, and what those draws would give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.bundle import Bundle
from imgturbo.bundle.folder import Direction
from imgturbo.door import room_for
from imgturbo.errors import ImgturboError
from imgturbo.nets.noise import PositionalNoise
from imgturbo.scoring.truth import GroundTruth, draw_targets
from imgturbo.simulators import COMMAND_KEYS, Simulator, make_simulator

__all__ = [
    "Drawn",
    "draw_posteriors",
    "draw_targets_and_posteriors",
    "simulator_of",
    "way_to_parameters",
]

Floats = NDArray[np.float64]

_NUMBERS = 1 << 24  # of draws held at once on the device
_RESIMULATED = 50_000_000  # numbers observed anew; fewer draws of longer observations


@dataclass(frozen=True)
class Drawn:
    """Targets, what a model draws of them, and what those draws would give; physical units.

    Attributes:
        truth: θ*, (M, P).
        observed: y*, (M, O).
        draws: (M, N, P) float32.
        seen: what the first R draws would give, (M, R, O).
        second: y°, another observation of θ*, (M, O); None where there is no noise.
    """

    truth: Floats
    observed: Floats
    draws: NDArray[np.float32]
    seen: Floats
    second: Floats | None


def simulator_of(
    bundle: Bundle,
    problem: str | None,
    options: dict[str, Any] | None,
    truth: GroundTruth | None,
) -> Simulator:
    """The simulator that is asked for, else that of the truth, else that of the training.

    Raises:
        ImgturboError: there is none, or it is not the truth's.
    """
    if problem is not None:
        made = make_simulator(problem, options, COMMAND_KEYS)
    elif truth is not None:
        made = truth.simulator()
    else:
        wish = bundle.config.data.source
        name = getattr(wish, "name", None)
        if wish is None or name is None:
            raise ImgturboError(
                f"{bundle.path}: was not trained on a simulator; name one with --problem"
            )
        given = wish.model_dump()["options"] if options is None else options
        made = make_simulator(name, given)
    if truth is not None and truth.simulator().digest != made.digest:
        raise ImgturboError(
            f"the ground truth is of {truth.problem} {truth.options or ''}, not of {made.name} "
            f"{made.set_options or ''}; make one with 'imgturbo truth'"
        )
    return made


def way_to_parameters(bundle: Bundle, simulator: Simulator) -> Direction:
    """The bundle's direction that leads from a simulator's observations to its parameters.

    Raises:
        ImgturboError: it has none, or has no noise.
    """
    wanted = simulator.observations.names, simulator.parameters.names
    for name in ("forward", "backward"):
        if (bundle.decoder if name == "forward" else bundle.encoder) is None:
            continue
        way = bundle.direction(name)
        if (way.input.names, way.output.names) == wanted:
            if not way.generator.stochastic:
                raise ImgturboError(
                    f"{bundle.path}: its network is deterministic, so it draws no posterior; "
                    "train a flow, or a generator with noise"
                )
            return way
    raise ImgturboError(
        f"{bundle.path}: does not lead from {_few(wanted[0])} to {_few(wanted[1])}, the "
        f"observations and parameters of {simulator.name}; train with data.source.given: "
        "observations"
    )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) < 7 else f"{names[0]} … {names[-1]} ({len(names)})"


def draw_posteriors(
    way: Direction,
    observed: Floats,
    samples: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[str, float], None] | None = None,
) -> NDArray[np.float32]:
    """Parameters that a network draws for each observation, (M, N, P), in physical units.

    Args:
        way: from observations to parameters.
        observed: (M, O).
        samples: N.
        seed: draw n of row m is a function of (seed, n, m), whatever the blocks.
        device: where the network computes.
        progress: called with what is being done and the fraction done.
    """
    network = way.generator.to(device).eval()
    rows = way.input.stretch(observed.T).T.astype(np.float32)
    size = len(way.output)
    at_once = max(1, _NUMBERS // (samples * size))
    out = np.empty((len(rows), samples, size), np.float32)
    for first in range(0, len(rows), at_once):
        block = torch.from_numpy(rows[first : first + at_once]).to(device)
        index = torch.arange(first, first + len(block))
        origins = torch.stack([index, torch.zeros_like(index)], 1)
        noises = [PositionalNoise(seed, origins, n) for n in range(samples)]
        drawn = torch.stack(list(network.draws(block, noises)), 1).float().cpu().numpy()
        physical = way.output.stretch.inverse(drawn.reshape(-1, size).T.astype(np.float64))
        out[first : first + len(block)] = physical.T.reshape(drawn.shape)
        if progress is not None:
            progress(
                f"{first + len(block)} of {len(rows)} targets", (first + len(block)) / len(rows)
            )
    return out


def draw_targets_and_posteriors(
    way: Direction,
    simulator: Simulator,
    targets: int,
    samples: int,
    truth: GroundTruth | None,
    seed: int,
    device: torch.device,
    tell: Callable[[str, float], None],
) -> Drawn:
    """Targets, of the truth or fresh ones, posteriors, and what their draws would give.

    Args:
        way: from observations to parameters.
        simulator: of the problem.
        targets, samples: M and N; with a truth, at most so many of its targets.
        truth: whose targets are taken; None: fresh ones.
        seed: of targets, draws and noise.
        device: where the network computes.
        tell: called with what is being done and the fraction done.

    Raises:
        ImgturboError: a draw is not finite, or there are more than fit into memory.
    """
    targets = targets if truth is None else min(targets, len(truth.parameters))
    needed = 12 * targets * samples * len(simulator.parameters)  # as float32, and to be scored
    remedy = "ask for fewer --targets or --samples"
    room_for(needed, "posteriors", f"{targets} × {samples} draws", remedy)
    if truth is None:
        parameters, observed = draw_targets(simulator, targets, seed)
    else:
        parameters, observed = truth.parameters[:targets], truth.observed[:targets]
    draws = draw_posteriors(
        way, observed, samples, seed, device, lambda what, share: tell(what, 0.5 * share)
    )
    if not np.isfinite(draws).all():
        bad = int((~np.isfinite(draws).all((1, 2))).sum())
        raise ImgturboError(
            f"{bad} of {len(draws)} posteriors hold numbers that are not finite; train for longer, "
            "or with a lower train.lr"
        )
    few = max(2, min(samples, _RESIMULATED // (len(draws) * observed.shape[1])))
    generator = np.random.default_rng([seed, 1, 1])
    seen = np.empty((len(draws), few, observed.shape[1]))
    step = max(1, (1 << 22) // (few * observed.shape[1]))
    for first in range(0, len(draws), step):
        block = draws[first : first + step, :few].astype(np.float64)
        flat = simulator.observe(generator, block.reshape(-1, block.shape[2]))
        seen[first : first + step] = flat.reshape(*block.shape[:2], -1)
        tell("observing the draws", 0.5 + 0.2 * first / len(draws))
    second, third = (simulator.observe(generator, parameters) for _ in range(2))
    noisy = not np.array_equal(second, third, equal_nan=True)
    return Drawn(parameters, observed, draws, seen, second if noisy else None)
