"""`accelerate launch scripts/translate.py …`: the same as `imgturbo translate`, shared by processes."""

import sys

from imgturbo.cli import main

if __name__ == "__main__":
    main(["translate", *sys.argv[1:]])
