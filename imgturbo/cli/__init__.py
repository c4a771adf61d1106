"""The ``imgturbo`` command, a module a group of commands."""
