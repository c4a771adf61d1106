"""What an astronomer must know before using a predicted image, each figure with its error bar.

scene        the images brought together: one grid, one unit, the sky's level taken away
sources      which are real, and down to which magnitude
light        fluxes and colours, in bins of what the input shows and of the truth
points       places and widths of stars, sizes and shapes of galaxies
structure    power and coherence by scale
spread       whether intervals hold, by flux
nulls        what is made of noise, of a negative sky, of sources that were put in
brought_back the prediction brought back to the source image
report       all of it
"""
