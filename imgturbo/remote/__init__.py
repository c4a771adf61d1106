"""Files at addresses, read by ranges; see :mod:`imgturbo.remote.address`."""

from imgturbo.remote.address import (
    Remote,
    identity,
    is_hub_address,
    is_remote,
    on_disk,
    readable,
    refuse_remote,
)
from imgturbo.remote.ranges import Ranges

__all__ = [
    "Ranges",
    "Remote",
    "identity",
    "is_hub_address",
    "is_remote",
    "on_disk",
    "readable",
    "refuse_remote",
]
