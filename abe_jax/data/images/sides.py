"""The sides of an image in pixels: one number for a square, or height and width."""

Sides = int | tuple[int, int]


def both(sides: Sides) -> tuple[int, int]:
    """Height and width."""
    return (sides, sides) if isinstance(sides, int) else sides


def simplest(sides: Sides) -> Sides:
    """One number where height and width are the same, so that a size has one form."""
    height, width = both(sides)
    return height if height == width else (height, width)


def numbers(sides: Sides) -> str:
    """Such as "224" or "256 x 128"."""
    height, width = both(sides)
    return f"{height}" if height == width else f"{height} x {width}"


def words(sides: Sides) -> str:
    """Such as "224 px" or "256 x 128 px"."""
    return f"{numbers(sides)} px"
