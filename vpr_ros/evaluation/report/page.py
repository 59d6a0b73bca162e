"""Pieces of a page that needs nothing but itself: styles inline, pictures as data, no scripts, every text escaped."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np

from vpr_ros.evaluation.report.drawing import Picture
from vpr_ros.evaluation.report.style import STYLE


def page(title: str, subtitle: str, verdict: str, body: Sequence[str], footer: str) -> str:
    """The whole document; `body` holds finished HTML, everything else is plain text."""
    # The policy makes the browser hold the promise: nothing is fetched and nothing runs.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><header><div><h1>{escape(title)}</h1>"
        f'<p>{escape(subtitle)}</p><p class="verdict">{escape(verdict)}</p></div></header>\n<main>\n'
        + "\n".join(body)
        + f"\n<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def section(title: str, intro: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(intro)}</p>{content}</section>"


def card(name: str, value: str, count: str, meaning: str) -> str:
    return (
        f'<div class="box card"><div class="name">{escape(name)}</div><div class="value">{escape(value)}</div>'
        f'<div class="count">{escape(count)}</div><p>{escape(meaning)}</p></div>'
    )


def cards(items: Sequence[str], columns: int = 4) -> str:
    return f'<div class="cards" style="--n:{columns}">{"".join(items)}</div>'


def figures(items: Sequence[str]) -> str:
    """Figures in two columns; the last one is centred where it would stand alone."""
    alone = sum(' wide"' not in item[:40] for item in items) % 2 == 1
    last = [item.replace('class="box"', 'class="box wide"', 1) for item in items[-1:]] if alone else list(items[-1:])
    return f'<div class="plots">{"".join([*items[:-1], *last])}</div>'


def data_uri(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def figure(drawing: Picture, title: str, meaning: str, wide: bool = False) -> str:
    """A drawing in a box; the page's light or dark setting picks the version."""
    stop = "" if title.endswith("?") else "."
    return (
        f'<figure class="box{" wide" if wide else ""}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{data_uri(drawing.dark)}">'
        f'<img src="{data_uri(drawing.light)}" width="{drawing.width}" height="{drawing.height}" '
        f'alt="{escape(drawing.alt)}"></picture>'
        f"<figcaption><b>{escape(title)}{stop}</b> {escape(meaning)}</figcaption></figure>"
    )


def stacked_bar(parts: Sequence[tuple[str, int, str]]) -> str:
    """Shares of a whole as one bar: (label, count, CSS colour)."""
    total = sum(count for _, count, _ in parts) or 1
    used = [part for part in parts if part[1]]
    spans = "".join(f'<span style="flex:{count};background:{colour}"></span>' for _, count, colour in used)
    keys = "".join(
        f'<span><i style="background:{colour}"></i>{escape(label)}: <b>{count}</b> ({percent(count / total)})</span>'
        for label, count, colour in used
    )
    return f'<div class="box"><div class="bar">{spans}</div><div class="key">{keys}</div></div>'


@dataclass(frozen=True)
class Table:
    """A table for the report. A float cell is a share and is shown as percent with a bar; other cells as they are."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


def table(data: Table) -> str:
    head = "".join(f"<th>{escape(str(c))}</th>" for c in data.columns)
    rows = "".join(f"<tr>{''.join(_cell(c) for c in row)}</tr>" for row in data.rows)
    return f'<div class="box scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        width = 0.0 if math.isnan(value) else 100 * min(max(value, 0.0), 1.0)
        return f'<td class="share" style="--w:{width:.1f}%">{percent(value)}</td>'
    kind = ' class="text"' if isinstance(value, str) and len(value) > 24 else ""
    return f"<td{kind}>{escape('' if value is None else str(value))}</td>"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows if v) + "</dl>"


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


def as_picture_bytes(image: np.ndarray | bytes | None, max_side: int = 360) -> bytes | None:
    """JPEG of an (H, W, 3) uint8 RGB array, or JPEG/PNG bytes that can be decoded; None for anything unusable."""
    if image is None:
        return None
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        if not data.startswith((b"\xff\xd8", b"\x89PNG")):
            return None
        small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
        return data if small is not None else None
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        return None
    scale = max_side / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 86])
    return data.tobytes() if ok else None


def shot(data: bytes | None, aspect: float, title: str, caption: str) -> str:
    """One picture of a comparison, stretched to the query's aspect: thumbnails are stored at the network's shape."""
    style = f"aspect-ratio:{aspect:.4f}"
    body = (
        f'<img style="{style}" src="{data_uri(data)}" alt="{escape(title)}">'
        if data
        else f'<div class="none" style="{style}">no picture</div>'
    )
    return f'<div>{body}<div class="cap"><b>{escape(title)}</b><br>{escape(caption)}</div></div>'


def comparison(shots: Sequence[str], tone: str, tag: str, verdict: str) -> str:
    """Pictures side by side with a sentence under them; tone is good, bad or warn."""
    return (
        f'<div class="box"><div class="shots">{"".join(shots)}</div><p class="verdict-line">'
        f'<span class="tag {tone}">{escape(tag)}</span> {escape(verdict)}</p></div>'
    )
