"""Whole jobs on data that travels with the package or is simulated."""
