"""Which small mistakes in the arithmetic would the tests let through? See ``__main__``."""
