"""``accelerate launch scripts/translate.py …``: `imgturbo translate`, shared among processes."""

import sys

from imgturbo.cli import main

main(["translate", *sys.argv[1:]])
