"""``accelerate launch scripts/translate.py …``: `imgturbo translate`, shared among processes."""

import sys

from imgturbo.cli.main import main

if __name__ == "__main__":  # workers of --scheduler local load this file too
    main(["translate", *sys.argv[1:]])
