"""``accelerate launch scripts/translate.py …``: `imgturbo translate`, shared among processes."""

import sys

from imgturbo.cli.main import main

main(["translate", *sys.argv[1:]])
