r"""A linear observation of Gaussian parameters, whose posterior is known in closed form.

    z ~ N(m, S),    x = A z + σ ε,    ε ~ N(0, 1)

    p(z | x) = N(μ, Σ),   Σ = (S⁻¹ + Aᵀ A/σ²)⁻¹,   μ = Σ (S⁻¹ m + Aᵀ x/σ²)

(Bishop 2006, Pattern Recognition and Machine Learning, eq. 2.116 and 2.117). What is learnt about
other simulators can be checked on this one.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from imgturbo.config.section import Section
from imgturbo.side import Side
from imgturbo.simulators.simulator import Simulator
from imgturbo.sky.stretch import Stretch

__all__ = ["Linear", "LinearOptions"]

Floats = NDArray[np.float64]

_MATRIX = ((1.0, 0.0, 0.5), (0.0, 1.0, -0.5), (1.0, -1.0, 0.0), (0.3, 0.3, 1.0), (0.0, 0.2, 2.0))
_MEAN = (1.0, -2.0, 0.0)
_COVARIANCE = ((1.0, 0.6, 0.0), (0.6, 2.0, 0.0), (0.0, 0.0, 0.5))


def _plain(value: object) -> object:
    """Arrays as lists, which is what a config has."""
    return value.tolist() if isinstance(value, np.ndarray) else value


class LinearOptions(Section):
    """Which lines, which Gaussian and how much noise."""

    matrix: Annotated[list[list[float]], BeforeValidator(_plain)] = Field(
        [list(row) for row in _MATRIX]
    )
    """A, a row an observation and a column a parameter."""
    mean: Annotated[list[float], BeforeValidator(_plain)] = Field(list(_MEAN))
    """m, a number a parameter."""
    covariance: Annotated[list[list[float]], BeforeValidator(_plain)] = Field(
        [list(row) for row in _COVARIANCE]
    )
    """S, positive definite."""
    noise: float = Field(0.5, gt=0)
    """σ."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n = len(self.mean)
        if n == 0 or not self.matrix or any(len(row) != n for row in self.matrix):
            raise ValueError(f"'matrix' must have rows of {n} numbers, as many as 'mean'")
        covariance = np.array(self.covariance) if len(self.covariance) == n else np.zeros((0, 1))
        if covariance.shape != (n, n) or not np.allclose(covariance, covariance.T):
            raise ValueError(f"'covariance' must be a symmetric matrix of {n} × {n} numbers")
        if np.linalg.eigvalsh(covariance)[0] <= 0:
            raise ValueError("'covariance' must be positive definite")
        return self


class Linear(Simulator):
    """Observes sums of correlated Gaussian parameters with noise.

    Args:
        matrix: A, (O, P).
        mean: m, (P,).
        covariance: S, (P, P), positive definite.
        noise: σ.

    Example:
        >>> import numpy as np
        >>> simulator = Linear(matrix=[[1.0]], mean=[0.0], covariance=[[1.0]], noise=1.0)
        >>> mean, covariance = simulator.posterior(np.array([[2.0]]))
        >>> mean.tolist(), covariance.tolist()
        ([[1.0]], [[0.5]])
    """

    name = "linear"
    Options = LinearOptions
    options: LinearOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.matrix = np.array(self.options.matrix)
        self.mean = np.array(self.options.mean)
        self.covariance = np.array(self.options.covariance)
        self.noise = self.options.noise
        self._root = np.linalg.cholesky(self.covariance)
        spread = self.matrix @ self.covariance @ self.matrix.T
        spread = spread + self.noise**2 * np.eye(len(self.matrix))
        self.parameters = _side("z", self.mean, self.covariance)
        self.observations = _side("x", self.matrix @ self.mean, spread)

    def prior(self, generator: np.random.Generator, n: int) -> Floats:
        """z, (n, P)."""
        return self.mean + generator.standard_normal((n, len(self.mean))) @ self._root.T

    def observe(self, generator: np.random.Generator, parameters: Floats) -> Floats:
        """x, (n, O)."""
        exact = parameters @ self.matrix.T
        return exact + self.noise * generator.standard_normal(exact.shape)

    def posterior(self, observations: Floats) -> tuple[Floats, Floats]:
        """What is known of the parameters once they have been observed.

        Args:
            observations: x, (n, O).

        Returns:
            μ, (n, P), and Σ, (P, P), which is the same for all.
        """
        precision = np.linalg.inv(self.covariance)
        learnt = self.matrix.T @ self.matrix / self.noise**2
        covariance = np.asarray(np.linalg.inv(precision + learnt), np.float64)
        pull = precision @ self.mean + observations @ self.matrix / self.noise**2
        return pull @ covariance, covariance

    def exact_draws(self, generator: np.random.Generator, observations: Floats, n: int) -> Floats:
        """Draws of N(μ, Σ), (M, n, P)."""
        mean, covariance = self.posterior(observations)
        noise = generator.standard_normal((len(mean), n, len(covariance)))
        return mean[:, None] + noise @ np.linalg.cholesky(covariance).T


def _side(letter: str, mean: Floats, covariance: Floats) -> Side:
    """A table whose columns are standardised."""
    n = len(mean)
    stretch = Stretch(mean, np.full(n, np.inf), np.sqrt(np.diag(covariance)))
    return Side(tuple(f"{letter}{i + 1}" for i in range(n)), "", stretch, kind="table")
