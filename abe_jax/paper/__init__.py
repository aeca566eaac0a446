"""Pictures of trained runs for a paper, as PNG and as PDF whose text stays text."""

from abe_jax.paper.captions import Caption
from abe_jax.paper.drawing import NAMES, drawn
from abe_jax.paper.run import Picture, Skipped
from abe_jax.paper.style import write

__all__ = ["NAMES", "Caption", "Picture", "Skipped", "drawn", "write"]
