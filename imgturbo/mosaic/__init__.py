"""Any model on an image of any size: windows, blending, streaming, resume."""

from imgturbo.mosaic.archive import ManifestSummary, translate_manifest
from imgturbo.mosaic.cutouts import CutoutSummary, translate_positions
from imgturbo.mosaic.files import translate_file
from imgturbo.mosaic.manifest import Field, read_manifest
from imgturbo.mosaic.translate import translate_array, translate_sky
from imgturbo.mosaic.windows import Window, plan

__all__ = [
    "CutoutSummary",
    "Field",
    "ManifestSummary",
    "Window",
    "plan",
    "read_manifest",
    "translate_array",
    "translate_file",
    "translate_manifest",
    "translate_positions",
    "translate_sky",
]
