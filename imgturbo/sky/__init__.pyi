from .image import SkyImage
from .photometry import is_surface_brightness
from .read import SkyReader, open_sky, read_sky
from .resampling import resample
from .stretch import Stretch
from .write import SkyWriter, write_sky

__all__ = [
    "SkyImage",
    "SkyReader",
    "SkyWriter",
    "Stretch",
    "is_surface_brightness",
    "open_sky",
    "read_sky",
    "resample",
    "write_sky",
]
