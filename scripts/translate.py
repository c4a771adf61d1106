"""``accelerate launch scripts/translate.py …``: `imgturbo translate`, shared among processes."""

import sys

from imgturbo.stopping import end_with_launcher

if __name__ == "__main__":  # workers of --scheduler local load this file too
    end_with_launcher()  # before the long imports, which a launcher may not outlive
    from imgturbo.cli.main import main

    main(["translate", *sys.argv[1:]])
