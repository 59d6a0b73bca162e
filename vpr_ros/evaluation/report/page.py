"""The content of a page of the report, as data; each kind of block names the template that writes it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

from vpr_ros.evaluation.report.drawing import Picture

Tone = Literal["good", "bad", "warn"]


@dataclass(frozen=True)
class Card:
    """A headline figure, what it was counted from, and what it means."""

    name: str
    value: str
    count: str
    meaning: str


@dataclass(frozen=True)
class Cards:
    template: ClassVar[str] = "cards.html.j2"
    items: Sequence[Card]
    columns: int = 4


@dataclass(frozen=True)
class BarPart:
    label: str
    count: int
    colour: str  # as CSS writes it


@dataclass(frozen=True)
class Bar:
    """Shares of a whole as one bar; parts without a count are left out."""

    template: ClassVar[str] = "bar.html.j2"
    parts: Sequence[BarPart]

    @property
    def total(self) -> int:
        return sum(part.count for part in self.parts)


@dataclass(frozen=True)
class Figure:
    """A drawing in a box; `wide` figures take the page's whole width."""

    template: ClassVar[str] = "figure.html.j2"
    drawing: Picture
    title: str
    meaning: str
    wide: bool = False


@dataclass(frozen=True)
class Figures:
    """Figures in two columns."""

    template: ClassVar[str] = "figures.html.j2"
    items: Sequence[Figure]

    @classmethod
    def centred(cls, items: Sequence[Figure]) -> "Figures":
        """The figures, with the last one centred where it is alone in its row."""
        alone = sum(not figure.wide for figure in items) % 2 == 1
        return cls([*items[:-1], replace(items[-1], wide=True)] if alone else items)


@dataclass(frozen=True)
class Table:
    """A table for the report. A float cell is a share and is shown as percent with a bar; other cells as they are."""

    template: ClassVar[str] = "table.html.j2"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


@dataclass(frozen=True)
class Lines:
    """Sentences, one under the other."""

    template: ClassVar[str] = "lines.html.j2"
    items: Sequence[str]


@dataclass(frozen=True)
class FrameLink:
    """A frame by its number, and what there is to say of it."""

    row: int
    sentence: str


@dataclass(frozen=True)
class FrameList:
    """Links to frames; the browser of the page adds their pictures."""

    template: ClassVar[str] = "frame_list.html.j2"
    title: str
    intro: str
    tone: Tone
    items: Sequence[FrameLink]


@dataclass(frozen=True)
class Browser:
    """Frame by frame: pictures and facts of the frame that is selected, out of a table of all frames as JSON text."""

    template: ClassVar[str] = "browser.html.j2"
    count: int
    table: str
    note: str  # which pictures are there


@dataclass(frozen=True)
class Facts:
    """Names and values, those without a value left out; below them a configuration as text."""

    template: ClassVar[str] = "facts.html.j2"
    rows: Sequence[tuple[str, str]]
    configuration: str = ""


Block: TypeAlias = Cards | Bar | Figure | Figures | Table | Lines | FrameList | Browser | Facts


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; without a title the blocks have no heading."""

    title: str
    intro: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    title: str
    subtitle: str
    verdict: str
    sections: Sequence[Section]
    footer: str
