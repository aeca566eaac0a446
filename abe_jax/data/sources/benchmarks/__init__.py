"""Data sets as their authors hand them out: prepared once, read by their published protocols."""
