"""Pictures of trained runs for a paper, as PNG and as PDF whose text stays text."""

from abe_jax.report.paper.captions import Caption
from abe_jax.report.paper.drawing import NAMES, drawn
from abe_jax.report.paper.run import Picture, Skipped
from abe_jax.report.paper.style import write

__all__ = ["NAMES", "Caption", "Picture", "Skipped", "drawn", "write"]
