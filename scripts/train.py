"""`accelerate launch scripts/train.py CONFIG [KEY=VALUE]…`: the same as `imgturbo train`."""

import sys

from imgturbo.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
