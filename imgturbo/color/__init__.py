"""Colours for grey images: many plausible ones, of photographs and of the sky."""
