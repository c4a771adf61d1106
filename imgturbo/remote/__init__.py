"""Files at addresses, read by ranges; see :mod:`imgturbo.remote.address`."""

from imgturbo.remote.address import (
    Remote,
    identity,
    is_hub_address,
    is_remote,
    on_disk,
    readable,
    refuse_remote,
    same_file,
)
from imgturbo.remote.given import Readable, local, writable
from imgturbo.remote.ranges import Ranges

__all__ = [
    "Ranges",
    "Readable",
    "Remote",
    "identity",
    "is_hub_address",
    "is_remote",
    "local",
    "on_disk",
    "readable",
    "refuse_remote",
    "same_file",
    "writable",
]
