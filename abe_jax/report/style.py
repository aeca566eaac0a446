"""The page's style sheet: its rules, and the palette for light, dark and printed pages."""

from importlib import resources

from abe_jax.report import palette


def css() -> str:
    """The whole style sheet, with the palette as variables; it names nothing outside the page."""
    light, dark = palette.css_variables(dark=False), palette.css_variables(dark=True)
    rules = resources.files("abe_jax.report").joinpath("style.css").read_text("utf-8")
    return f"""
:root {{ {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}
@media print {{ :root {{ color-scheme: light; {light} --paper: #ffffff; }} }}
{rules}"""
