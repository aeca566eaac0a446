"""Numbers with the least and the greatest value that a config may give them.

A greatest value is far above what anybody trains with, and far below what makes a machine hang, an
array overflow or a compiler give up.
"""

from typing import Annotated

Count = Annotated[int, 1, 2**31 - 1]  # of steps, classes found, neighbours: nothing is made of it
Natural = Annotated[int, 0, 2**31 - 1]
Seed = Annotated[int, 0, 2**32 - 1]  # JAX takes no more bits of a seed without saying so
Amount = Annotated[float, 0.0, 3.4e38]  # what float32 holds
Real = Annotated[float, -3.4e38, 3.4e38]
Temperature = Annotated[float, 1e-6, 3.4e38]  # a divisor
Exponent = Annotated[float, 1.0, float("inf")]
RIGHT_ANGLE = 1.5708  # in radians, as it is printed
Angle = Annotated[float, 0.0, RIGHT_ANGLE]
Cosine = Annotated[float, -1.0, 1.0]
Apart = Annotated[float, 0.0, 2.0]  # of two cosines, at most
Scale = Annotated[float, 0.0, 10_000.0]  # of cosines: exponents stay far from where float32 ends
Steepness = Annotated[float, 1e-6, 10_000.0]  # a scale that is divided by as well
Share = Annotated[float, 0.0, 1.0]
Pixels = Annotated[int, 1, 8_192]  # along one side of an image
# Of an image: one number for both sides, or height and width.
Sides = Pixels | tuple[Pixels, Pixels]
Margin = Annotated[int, 0, 8_192]  # in pixels
Centres = Annotated[int, 1, 1_024]  # that a loss may have for one class
Rows = Annotated[int, 1, 65_536]  # of a batch or a block
Classes = Annotated[int, 0, 10_000_000]  # that a loss may have a vector for
Learners = Annotated[int, 1, 256]  # each with a decoder of its own
Width = Annotated[int, 1, 65_536]  # of an embedding
Channels = Annotated[int, 1, 1_024]  # of a first stage, which later ones multiply
LastStride = Annotated[int, 0, 1]
Depth = Annotated[int, 0, 1_000]  # in stages
Threads = Annotated[int, 1, 1_024]
Sweeps = Annotated[int, 0, 1_000]
Bins = Annotated[int, 1, 10_000]  # of a histogram
