r"""Mix the channels, so that couplings meet every channel in both roles.

    OrthogonalMixing   z = Q x, Q a fixed random rotation or reflection          log|det| = 0
    LUMixing           z = P L (U + diag(±e^ν)) x, L and U strictly triangular, log|det| = HW · Σ ν
    Permutation        z_i = x_π(i), by index, no matrix product                 log|det| = 0

each at every pixel alike (a "1×1 convolution"). The products are matrix products rather than
convolutions: on a GPU cuDNN's convolutions round float32 to ten bits by default (TF32), which an
inverse to 1e-4 does not survive.

Random orthogonal matrices: Ardizzone et al. 2019 (arXiv:1907.02392), section 3.3; LU: Kingma &
Dhariwal 2018 (arXiv:1807.03039), section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import Condition, Transform, full_precision, require_channels

__all__ = ["LUMixing", "OrthogonalMixing", "Permutation", "make_mixing"]


def random_orthogonal(channels: int, seed: int) -> Tensor:
    """A float64 matrix from the Haar measure of O(C): QR of a Gaussian one, signs made unique."""
    if torch.empty(0).is_meta:  # of a network made of shapes alone
        return torch.empty(channels, channels, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal().sign()


def _orthogonal(q: Tensor, channels: int) -> bool:
    if q.shape != (channels, channels):
        return False
    return bool((q @ q.T - torch.eye(channels)).abs().max() <= 1e-4)


def mix(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix`` (C, C) times the channels of x (B, C, …), in x's precision under any autocast."""
    with torch.autocast(x.device.type, enabled=False):
        # Channels last, as couplings leave their arrays: the product then copies nothing.
        return F.linear(x.movedim(1, -1), matrix).movedim(-1, 1)


class OrthogonalMixing(Transform):
    """z = Q x with a fixed random orthogonal Q, not trained; the inverse is Qᵀ.

    Args:
        channels: C.
        seed: of the matrix, which is saved with the weights all the same.
        matrix: (C, C), takes the place of the random one.

    Raises:
        ImgturboError: ``matrix`` is not orthogonal.
    """

    exact: ClassVar[tuple[str, ...]] = ("matrix",)
    """What is stored in full where weights are rounded: Qᵀ inverts Q only to Q's own error."""

    matrix: Tensor

    def __init__(self, channels: int, seed: int = 0, matrix: Tensor | None = None) -> None:
        super().__init__()
        self.channels = channels
        q = random_orthogonal(channels, seed) if matrix is None else matrix.double()
        if matrix is not None and not _orthogonal(q, channels):
            raise ImgturboError(f"the mixing of {channels} channels was given no orthogonal matrix")
        self.register_buffer("matrix", q.to(torch.get_default_dtype()).contiguous())

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        require_channels(x, self.channels, "this mixing")
        x = full_precision(x)
        return mix(self.matrix.to(x.dtype), x), x.new_zeros(len(x))

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        require_channels(z, self.channels, "this mixing")
        z = full_precision(z)
        return mix(self.matrix.to(z.dtype).T, z)

    def _polish(self) -> None:
        """Make a matrix that comes from float32 orthogonal to the last digit of float64.

        One step of Newton and Schulz, Q ← Q(3 − QᵀQ)/2, squares the error of 1e-7. Matrices that
        stay float32 are left as they are, bit for bit.
        """
        if self.matrix.dtype == torch.float64:
            q = self.matrix
            self.matrix.copy_(1.5 * q - 0.5 * q @ (q.T @ q))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OrthogonalMixing:
        super()._apply(fn, recurse)
        self._polish()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._polish()

    def extra_repr(self) -> str:
        return f"{self.channels}"


class LUMixing(Transform):
    """z = W x with a learned W = P L (U + diag(±e^ν)), from a random orthogonal start.

    P and the signs stay as they start; L (unit diagonal), U and ν are trained, so that W always
    has an inverse and log|det| costs C additions.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int, seed: int = 0) -> None:
        super().__init__()
        self.channels = channels
        p, lower, upper = torch.linalg.lu(random_orthogonal(channels, seed))
        dtype = torch.get_default_dtype()
        diagonal = upper.diagonal()
        self.lower = nn.Parameter(lower.tril(-1).to(dtype).contiguous())
        self.upper = nn.Parameter(upper.triu(1).to(dtype).contiguous())
        self.log_diagonal = nn.Parameter(diagonal.abs().log().to(dtype))
        self.register_buffer("sign", diagonal.sign().to(dtype))
        self.register_buffer("permutation", p.argmax(dim=1))

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        require_channels(x, self.channels, "this mixing")
        x = full_precision(x)
        lower, upper = self._factors(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            matrix = (lower @ upper)[self.permutation]
        log_det = x[0, 0].numel() * self.log_diagonal.to(x.dtype).sum()
        return mix(matrix, x), log_det.expand(len(x))

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        require_channels(z, self.channels, "this mixing")
        z = full_precision(z)
        lower, upper = self._factors(z.dtype)
        identity = torch.eye(self.channels, dtype=z.dtype, device=z.device)
        transposed = identity[torch.argsort(self.permutation)]  # Pᵀ
        solved = torch.linalg.solve_triangular(lower, transposed, upper=False, unitriangular=True)
        return mix(torch.linalg.solve_triangular(upper, solved, upper=True), z)

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        identity = torch.eye(self.channels, dtype=dtype, device=self.lower.device)
        diagonal = torch.diag((self.sign * self.log_diagonal.exp()).to(dtype))
        return self.lower.to(dtype).tril(-1) + identity, self.upper.to(dtype).triu(1) + diagonal

    def extra_repr(self) -> str:
        return f"{self.channels}"


class Permutation(Transform):
    """z_i = x_π(i), channels moved by index.

    Args:
        permutation: π, or the number of channels for a random one.
        seed: of the random permutation, which is saved with the weights all the same.

    Raises:
        ImgturboError: ``permutation`` does not name every channel once.
    """

    index: Tensor

    def __init__(self, permutation: Sequence[int] | Tensor | int, seed: int = 0) -> None:
        super().__init__()
        if isinstance(permutation, int):
            index = torch.randperm(permutation, generator=torch.Generator().manual_seed(seed))
        else:
            # Numbers first: a network made of shapes alone has tensors without any.
            named = [int(place) for place in permutation]
            if sorted(named) != list(range(len(named))):
                raise ImgturboError("a permutation must name every channel from 0 up once")
            index = torch.tensor(named, dtype=torch.int64)
        self.channels = len(index)
        self.register_buffer("index", index)

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        require_channels(x, self.channels, "this permutation")
        x = full_precision(x)
        return x[:, self.index], x.new_zeros(len(x))

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        require_channels(z, self.channels, "this permutation")
        return full_precision(z)[:, torch.argsort(self.index)]

    def extra_repr(self) -> str:
        return f"{self.channels}"


def make_mixing(
    name: Literal["orthogonal", "lu", "permutation"], channels: int, seed: int
) -> Transform:
    """The mixing that a config names."""
    if name == "lu":
        return LUMixing(channels, seed)
    if name == "permutation":
        return Permutation(channels, seed)
    return OrthogonalMixing(channels, seed)
