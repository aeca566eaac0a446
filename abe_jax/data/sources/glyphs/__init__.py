"""The embedded data set `glyphs`: how its characters are drawn, divided and read back."""
