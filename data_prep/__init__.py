"""FITS → registered, reprojected, tiled; plus the two-telescope sky simulator."""
