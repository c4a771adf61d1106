"""The sky: images with coordinates, read and written, resampled, stretched invertibly.

Names (see ``__init__.pyi``) load on first use, so that ``imgturbo.sky.stretch`` and
``imgturbo --help`` need no astropy.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
