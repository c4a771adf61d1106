"""Hubble → Webb on the real deep field SMACS 0723; see README.md beside this file."""
