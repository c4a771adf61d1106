from .image import SkyImage
from .photometry import FluxScale
from .read import SkyReader, open_sky, read_sky
from .resampling import resample
from .spec import SkySpec
from .stretch import Stretch
from .write import SkyWriter, write_sky

__all__ = [
    "FluxScale",
    "SkyImage",
    "SkyReader",
    "SkySpec",
    "SkyWriter",
    "Stretch",
    "open_sky",
    "read_sky",
    "resample",
    "write_sky",
]
