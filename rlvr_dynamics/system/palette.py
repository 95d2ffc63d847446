"""Colours that are distinguishable for colour-blind readers.

Source: Okabe and Ito, "Color Universal Design" (2008); the grey is ours.
"""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#767676"
