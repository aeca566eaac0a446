"""The colours of every table, plot and sheet, for light and for dark surroundings."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colour:
    """One colour's hexadecimal value on light and on dark ground."""

    light: str
    dark: str


# Blue and orange carry every yes/no distinction: they stay apart for all common kinds of colour
# blindness, and nowhere is colour the only sign. The light values differ from each other, because
# plots are drawn with them and then each is replaced by its CSS variable.
COLOURS: dict[str, Colour] = {
    "paper": Colour(light="#faf9f6", dark="#15171b"),
    "card": Colour(light="#ffffff", dark="#1d2026"),
    "ink": Colour(light="#1c1e22", dark="#ebe8e1"),
    "soft": Colour(light="#5b5f67", dark="#a9acb3"),
    "rule": Colour(light="#dedbd3", dark="#363a42"),
    "blue": Colour(light="#0b67b2", dark="#63b3f4"),
    "orange": Colour(light="#c24a06", dark="#ff9b57"),
    "green": Colour(light="#0a7d62", dark="#4fcfae"),
    "purple": Colour(light="#8446a5", dark="#cf9bea"),
    "gold": Colour(light="#b98a00", dark="#f2cf57"),
    "sky": Colour(light="#4fb0dc", dark="#a5defa"),
}


def light(name: str) -> str:
    """The colour's value on light ground, as pictures without a dark form use it."""
    return COLOURS[name].light


def css_variables(*, dark: bool) -> str:
    """The palette as CSS custom properties, `--ink:#1c1e22;...`."""
    values = ((name, c.dark if dark else c.light) for name, c in COLOURS.items())
    return "".join(f"--{name}:{value};" for name, value in values)
