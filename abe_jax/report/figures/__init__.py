"""Pictures of trained runs for a paper, as PNG and as PDF whose text stays text."""

from abe_jax.report.figures.captions import Caption
from abe_jax.report.figures.drawing import NAMES, draw
from abe_jax.report.figures.embedded_run import EmbeddedRun, Picture, Skipped
from abe_jax.report.figures.layout import write

__all__ = ["NAMES", "Caption", "EmbeddedRun", "Picture", "Skipped", "draw", "write"]
