"""``python -m imgturbo …``: the same as the ``imgturbo`` command."""

from imgturbo.cli.main import main

if __name__ == "__main__":
    main()
