"""Look into a figure: what it says about its units, and in which colours it draws."""

from io import BytesIO

from matplotlib.colors import to_hex
from matplotlib.figure import Figure

PNG = b"\x89PNG\r\n\x1a\n"


def png(figure: Figure) -> bytes:
    """The figure as a notebook would show it."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def labels(figure: Figure) -> tuple[str, str]:
    """What its x and its y axis say."""
    (axes,) = figure.axes
    return axes.get_xlabel(), axes.get_ylabel()


def colours(figure: Figure) -> set[str]:
    """Every colour of its lines, dots and bars."""
    (axes,) = figure.axes
    drawn = [line.get_color() for line in axes.lines]
    drawn += [colour for dots in axes.collections for colour in dots.get_facecolor()]
    drawn += [bar.get_facecolor() for bar in axes.patches]
    return {to_hex(colour).upper() for colour in drawn}
