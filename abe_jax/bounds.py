"""Numbers with the least and the greatest value that a config may give them."""

from typing import Annotated

Count = Annotated[int, 1, 2**31 - 1]
Side = Annotated[int, 1, 2**13]  # px; a batch of 64 squares of so many takes 13 GB
Natural = Annotated[int, 0, 2**31 - 1]
Seed = Annotated[int, 0, 2**32 - 1]  # JAX takes no more bits of a seed without saying so
Amount = Annotated[float, 0.0, 3.4e38]  # what float32 holds
Temperature = Annotated[float, 1e-6, 3.4e38]  # a divisor
Exponent = Annotated[float, 1.0, float("inf")]
Share = Annotated[float, 0.0, 1.0]
