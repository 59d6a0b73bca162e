"""A page as self-contained HTML: style sheet and pictures are inside, and there are no scripts."""

import base64
import math
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vpr_ros.evaluation.report.page import Page

TEMPLATES = Path(__file__).with_name("templates")


def render(page: Page) -> str:
    """The whole document; every text of the page is escaped."""
    return _environment().get_template("page.html.j2").render(page=page)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, data_uri=data_uri, bar_width=bar_width)
    return environment


def data_uri(data: bytes) -> str:
    """A JPEG or PNG as a data URL."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def bar_width(value: float) -> str:
    """Width of the bar behind a share, in CSS; none for NaN."""
    return f"{0.0 if math.isnan(value) else 100 * min(max(value, 0.0), 1.0):.1f}%"


def percent(value: float, digits: int = 1) -> str:
    """0.5 -> "50.0 %" with a space that does not break; NaN -> a dash.

    A share just under 1 or just over 0 gets more digits rather than be rounded to 100 % or 0 %.
    """
    if math.isnan(value):
        return "–"
    text = f"{100 * value:.{digits}f}"
    if value < 1 and float(text) >= 100 or value > 0 and float(text) == 0:
        return percent(value, digits + 1) if digits < 6 else f"{100 * value:g}\u00a0%"
    return f"{text}\u00a0%"
