"""Measurements that take minutes: run by hand, each by the command in its own docstring."""
