"""Ground truth of posteriors: targets of a simulator, and draws of what their parameters may be.

It costs minutes to hours and does not depend on any model, so it is made once and kept in a file:
the targets θ*, y*, for each of them K draws of p(θ | y*), and of the first few K draws more from
other random numbers. How far the two are apart is the *noise floor*: no model can be told from the
truth below it, so every table shows it beside its own numbers.

The file is a safetensors; its metadata hold what was asked, and a digest of that and of the
simulator, by which it is known again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from imgturbo.door import door, room_for
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256, write_whole
from imgturbo.metrics.discrepancy import discrepancies
from imgturbo.places import free_place
from imgturbo.simulators import Simulator, make_simulator
from imgturbo.simulators.rejection import Kept, keep_nearest, keep_tolerated

__all__ = ["FLOOR_TARGETS", "Asked", "GroundTruth", "Method", "draw_targets", "ground_truth"]

Floats = NDArray[np.float64]
Method = Literal["nearest", "tolerance", "exact"]
Progress = Callable[[str, float], None]

FLOOR_TARGETS = 8
"""How many of the targets are drawn for a second time."""

MARK = (b"imgturbo_truth",)
"""Of a file of ground truth."""

_AGAIN = 1 << 40  # added to the seed of the second draws
_TARGETS = 0x7A6  # tells the stream of targets from those of proposals
_ARRAYS = ("parameters", "observed", "draws", "count", "reach", "again")


@dataclass(frozen=True)
class Asked:
    """What a ground truth is made of; what its rule does not use is left as it is.

    Attributes:
        method: ``"nearest"`` of a pool, ``"tolerance"`` until there are enough, or ``"exact"``,
            where the posterior is known.
        targets: M.
        keep: K, draws a target.
        pool: proposals; with a tolerance, no more than that.
        tolerance: τ, in the observations' units.
        seed: of targets and proposals.
    """

    method: Method = "nearest"
    targets: int = 1000
    keep: int = 1000
    pool: int = 10_000_000
    tolerance: float = 0.01
    seed: int = 0

    def used(self) -> dict[str, Any]:
        """Those that its method uses."""
        names = ["method", "targets", "keep", "seed"]
        names += [] if self.method == "exact" else ["pool"]
        names += ["tolerance"] if self.method == "tolerance" else []
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class GroundTruth:
    """Targets, and draws of their posteriors, in physical units.

    Attributes:
        problem: name of the simulator.
        options: its options that are not the default.
        asked: what was asked, by name.
        parameters: θ*, (M, P).
        observed: y*, (M, O).
        draws: (M, K, P) float32.
        count: (M,), how many of the K draws there are; the rest is NaN.
        reach: (M,), how far the observations of the draws are from y*, at most; NaN: exact.
        again: (F, K, P) float32, other draws of the first F targets.
        digest: 16 hexadecimal digits of simulator and wishes.
    """

    problem: str
    options: dict[str, Any]
    asked: dict[str, Any]
    parameters: Floats
    observed: Floats
    draws: NDArray[np.float32]
    count: NDArray[np.int64]
    reach: Floats
    again: NDArray[np.float32]
    digest: str

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which targets have all of their draws, (M,)."""
        return np.asarray(self.count == self.draws.shape[1])

    def floor(self) -> dict[str, dict[str, float]]:
        """Mean MMD² between two truths of the same targets: by kernel, by estimate."""
        rows: dict[str, list[tuple[float, float]]] = {}
        for one, two in zip(self.draws, self.again, strict=False):
            if np.isfinite(one).all() and np.isfinite(two).all():
                both = discrepancies(torch.from_numpy(one), torch.from_numpy(two))
                for name, found in both.items():
                    rows.setdefault(name, []).append(found)
        means = {name: np.mean(values, 0).tolist() for name, values in rows.items()}
        return {
            name: dict(zip(("biased", "unbiased"), m, strict=True)) for name, m in means.items()
        }

    def simulator(self) -> Simulator:
        """The simulator that it is of."""
        return make_simulator(self.problem, self.options, ("the ground truth",) * 2)

    def write(self, path: Path | str) -> None:
        """Write it whole."""
        facts = {
            "problem": self.problem,
            "options": self.options,
            "asked": self.asked,
            "digest": self.digest,
        }
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        write_whole(path, save(arrays, {"imgturbo_truth": json.dumps(facts, sort_keys=True)}))

    @classmethod
    def read(cls, path: Path | str) -> GroundTruth:
        """Read what :meth:`write` wrote.

        Raises:
            ImgturboError: no such file, or another or a damaged one.
        """
        path = Path(path)
        if not path.is_file():
            raise ImgturboError(f"{path}: no such file; make it with 'imgturbo truth'")
        remedy = "make it anew with 'imgturbo truth'"
        with door(path, remedy=remedy, what="is no ground truth, or damaged"):
            with safe_open(path, framework="np") as file:
                text = (file.metadata() or {}).get("imgturbo_truth")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads(text) if text else None
            if facts is not None and set(arrays) == set(_ARRAYS):
                return cls(**facts, **arrays)._checked()
        raise ImgturboError(f"{path}: is no ground truth; {remedy}")

    def _checked(self) -> GroundTruth:
        """Itself, if its arrays are of one size.

        Raises:
            ValueError: they are not.
        """
        targets, keep, columns = self.draws.shape
        wanted = {
            "parameters": (targets, columns), "observed": (targets, *self.observed.shape[1:]),
            "count": (targets,), "reach": (targets,), "again": (len(self.again), keep, columns),
        }  # fmt: skip
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has the shape {getattr(self, name).shape}, not {shape}")
        return self


def ground_truth(
    simulator: Simulator,
    asked: Asked,
    out: Path | str | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> GroundTruth:
    """Draw targets and their posteriors, or read them where that has been done.

    Args:
        simulator: of the problem.
        asked: by which rule, and how many.
        out: the file that is read, or made; None: nothing is written.
        overwrite: make it anew in the place of another file.
        progress: called with what is being done and the fraction done.

    Raises:
        ImgturboError: the file holds something else; the posterior is not known, of ``"exact"``;
            a pool too small, a tolerance or seed that is none, or nothing to observe; more draws
            than fit into memory.
    """
    _check(simulator, asked)
    digest = _digest(simulator, asked)
    if out is not None and Path(out).exists() and not overwrite:
        held = GroundTruth.read(out)
        if held.digest != digest:
            given = ", ".join(f"{name} {value}" for name, value in held.asked.items())
            raise ImgturboError(
                f"{out}: holds another ground truth ({held.problem}: {given}); choose another "
                "name, or --overwrite"
            )
        return held
    if out is not None:
        free_place(out, mark=MARK, overwrite=overwrite)
    parameters, observed = draw_targets(simulator, asked.targets, asked.seed)
    kept = _kept(simulator, observed, asked, asked.seed, progress)
    few = observed[: min(FLOOR_TARGETS, asked.targets)]
    again = _kept(simulator, few, asked, asked.seed + _AGAIN, progress)
    truth = GroundTruth(
        problem=simulator.name,
        options=simulator.set_options,
        asked=asked.used(),
        parameters=parameters,
        observed=observed,
        draws=kept.draws,
        count=kept.count,
        reach=kept.reach,
        again=again.draws,
        digest=digest,
    )
    if out is not None:
        truth.write(out)
    return truth


def _check(simulator: Simulator, asked: Asked) -> None:
    """Refuse what can give no ground truth, before any work."""
    if min(asked.targets, asked.keep, asked.pool) < 1 or asked.seed < 0:
        raise ImgturboError(
            f"{asked.targets} targets, {asked.keep} draws of a pool of {asked.pool}, seed "
            f"{asked.seed}: ask for 1 or more of each, and a seed of 0 or more"
        )
    if asked.method == "tolerance" and not 0 < asked.tolerance < math.inf:
        raise ImgturboError(
            f"a tolerance of {asked.tolerance} keeps nothing, or anything; give a positive number, "
            "in the observations' units"
        )
    columns = len(simulator.parameters) + len(simulator.observations)
    needed = 8 * asked.targets * (asked.keep * len(simulator.parameters) + columns)
    room_for(needed, "ground truth", f"{asked.targets} × {asked.keep} draws", "ask for fewer")


def draw_targets(simulator: Simulator, targets: int, seed: int) -> tuple[Floats, Floats]:
    """θ* (M, P) and y* (M, O), of which something is observed; a function of the seed alone.

    Raises:
        ImgturboError: hardly anything is ever observed.
    """
    generator = np.random.default_rng([seed, _TARGETS, 0])
    rows: list[tuple[Floats, Floats]] = []
    found = 0
    for _ in range(100):
        parameters, observed = simulator.draw(generator, targets)
        fine = np.isfinite(observed).all(1)
        rows.append((parameters[fine], observed[fine]))
        found += int(fine.sum())
        if found >= targets:
            parameters, observed = (np.concatenate(part) for part in zip(*rows, strict=True))
            return parameters[:targets], observed[:targets]
    raise ImgturboError(
        f"the simulator {simulator.name}: only {found} of {100 * targets} draws of its prior can "
        "be observed; choose other options"
    )


def _kept(
    simulator: Simulator, observed: Floats, asked: Asked, seed: int, progress: Progress | None
) -> Kept:
    if asked.method == "nearest":
        return keep_nearest(
            simulator, observed, pool=asked.pool, keep=asked.keep, seed=seed, progress=progress
        )
    if asked.method == "tolerance":
        return keep_tolerated(
            simulator,
            observed,
            tolerance=asked.tolerance,
            keep=asked.keep,
            cap=asked.pool,
            seed=seed,
            progress=progress,
        )
    exact = simulator.exact_draws(np.random.default_rng([seed, _TARGETS, 1]), observed, asked.keep)
    if exact is None:
        raise ImgturboError(
            f"the simulator {simulator.name}: its posterior is not known in closed form; choose "
            "the method nearest or tolerance"
        )
    count = np.full(len(observed), asked.keep)
    return Kept(exact.astype(np.float32), np.full(len(observed), np.nan), count, 0)


def _digest(simulator: Simulator, asked: Asked) -> str:
    content = json.dumps([simulator.digest, asked.used(), FLOOR_TARGETS], sort_keys=True)
    return sha256(content.encode())[:16]
