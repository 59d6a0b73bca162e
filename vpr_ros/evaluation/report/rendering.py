"""A page as self-contained HTML: style sheet, pictures and the one script are inside, and nothing is fetched."""

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vpr_ros.evaluation.report.drawing import Panel
from vpr_ros.evaluation.report.page import Page

TEMPLATES = Path(__file__).with_name("templates")


def render(page: Page) -> str:
    """The whole document; every text of the page is escaped."""
    script = (TEMPLATES / "browser.js").read_text(encoding="utf-8")
    return _environment().get_template("page.html.j2").render(page=page, script=script)


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
    environment.filters.update(percent=percent, data_uri=data_uri, bar_width=bar_width, hash=script_hash, panels=panels)
    return environment


def data_uri(data: bytes) -> str:
    """A JPEG or PNG as a data URL."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def script_hash(script: str) -> str:
    """What a content security policy names a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"


def panels(drawn: Sequence[Panel]) -> str:
    """Where frames lie in a drawing, as JSON."""
    return json.dumps([asdict(panel) for panel in drawn])


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
