"""What a latent space holds: images drawn from a prior, and images brought there and back."""

from imgturbo.sampling.draw import Latent, sample
from imgturbo.sampling.files import write_reconstruction, write_samples
from imgturbo.sampling.reconstruct import Reconstruction, reconstruct

__all__ = [
    "Latent",
    "Reconstruction",
    "reconstruct",
    "sample",
    "write_reconstruction",
    "write_samples",
]
