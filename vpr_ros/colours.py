"""Colours of the report's diagrams and of what the node draws, for light and dark backgrounds.

They are Okabe and Ito's set, whose members colour-blind people can distinguish.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    surface: str
    ink: str
    muted: str
    grid: str
    track: str  # the map's keyframes
    blue: str
    scale: str  # colour map whose high end stands out from the surface


LIGHT = Theme(
    surface="#ffffff",
    ink="#1d252c",
    muted="#5f6b76",
    grid="#e4e8ec",
    track="#b4bdc6",
    blue="#0072B2",
    scale="viridis_r",
)
DARK = Theme(
    surface="#182028",
    ink="#e6ebf0",
    muted="#9aa7b4",
    grid="#2c3742",
    track="#5c6975",
    blue="#56B4E9",
    scale="viridis",
)

GREEN, RED, ORANGE, PURPLE = "#009E73", "#E0401A", "#E69F00", "#CC79A7"
