"""Archives of fields: by one process, by many that share a folder, or on a cluster."""

from imgturbo.mosaic.archive.run import translate_manifest
from imgturbo.mosaic.archive.shares import Share
from imgturbo.mosaic.archive.summary import ManifestSummary

__all__ = ["ManifestSummary", "Share", "translate_manifest"]
