from .bundle import Bundle, load_bundle
from .mosaic import translate_sky
from .scoring.evaluate import evaluate
from .sky import SkyImage, Stretch, read_sky, write_sky
from .tables import translate_table

__version__: str

__all__ = [
    "Bundle",
    "SkyImage",
    "Stretch",
    "evaluate",
    "load_bundle",
    "read_sky",
    "translate_sky",
    "translate_table",
    "write_sky",
]
