"""`accelerate launch scripts/train.py CONFIG [KEY=VALUE]…`: the same as `imgturbo train`."""

import sys

from imgturbo.stopping import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()  # before the long imports, which a launcher may not outlive
    from imgturbo.cli.main import main

    main(["train", *sys.argv[1:]])
