"""The public image sets: what counts as right in each, and how queries without a right answer are counted.

Layout: images in two folders, by the file names of METHODS §1.9 (`@easting@northing@zone@letter@latitude@longitude@
pano@tile@heading@…@.jpg`). The published networks count a query without positives as a miss, in every set. Sets that
are pairs or a train ride have made-up coordinates in that scheme; folders of plain file names are matched by name or
frame number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from vpr_ros.errors import VprError
from vpr_ros.evaluation.metrics import RecallMode
from vpr_ros.evaluation.protocols.folder_truth import truth_in_step
from vpr_ros.evaluation.truth import Truth, truth_from_names, truth_from_utm

NS = (1, 5, 10)
METRES_PER_FRAME = 25 / 10.5  # Nordland's made-up northings: within 25 m means at most 10 frames


@dataclass(frozen=True)
class ImageSet:
    """One set. `frames`: two synchronous rides, right within so many frames; `pairs`: query i belongs to reference i
    alone."""

    title: str
    database: int  # published number of images
    queries: int
    radius_m: float = 25.0
    max_heading_deg: float | None = None
    frames: int | None = None
    pairs: bool = False
    mode: RecallMode = "miss"  # queries without a right answer: "miss" or "skip"


IMAGE_SETS = {
    "pitts30k": ImageSet("Pitts30k test", 10_000, 6_816),
    "pitts250k": ImageSet("Pitts250k test", 83_952, 8_280),
    "msls-val": ImageSet("MSLS val (Copenhagen, San Francisco)", 18_871, 740),
    # The papers name the 40 degrees; the code of the published figures leaves them out. The set's official script
    # ignores queries that nothing answers.
    "msls-val-40deg": ImageSet("MSLS val with headings", 18_871, 740, max_heading_deg=40.0, mode="skip"),
    "nordland": ImageSet("Nordland, ±10 frames (summer database, winter queries)", 27_592, 27_592, frames=10),
    # Another subset, often written Nordland*, is scored by the frame before and after.
    "nordland-1": ImageSet("Nordland*, ±1 frame", 27_592, 27_592, frames=1),
    "sped": ImageSet("SPED", 607, 607, pairs=True),
    "amstertime": ImageSet("AmsterTime", 1_231, 1_231, pairs=True),
}


def image_set(name: str) -> ImageSet:
    """The set of that name; VprError, which lists all names, for another one."""
    try:
        return IMAGE_SETS[name]
    except KeyError:
        raise VprError(f"'{name}' is not a protocol: choose one of {', '.join(IMAGE_SETS)}, or paper.") from None


def truth_of_set(name: str, queries: Sequence[str | Path], database: Sequence[str | Path]) -> Truth:
    """Right answers by the rule of set `name` for files in natural order; ids are rows of `database`.

    VprError where the file names have neither coordinates nor what replaces them in this set.
    """
    rule = image_set(name)
    query_names, database_names = ([PurePath(file).name for file in files] for files in (queries, database))
    placed = {n.count("@") >= 2 for n in (*query_names, *database_names)}
    if len(placed) > 1:
        raise VprError(
            f"some file names hold @easting@northing and some do not: {rule.title} needs one scheme in both folders."
        )
    if placed == {True}:
        radius_m = rule.radius_m if rule.frames is None else (rule.frames + 0.5) * METRES_PER_FRAME
        truth = truth_from_utm(query_names, database_names, radius_m, rule.max_heading_deg)
    elif rule.frames is not None:
        truth = truth_in_step(queries, database, rule.frames)
    elif rule.pairs:
        truth = truth_from_names(query_names, database_names)
    else:
        raise VprError(
            f"the file names hold no @easting@northing, which {rule.title} needs: prepare the set in that scheme."
        )
    without = "counts as a miss" if rule.mode == "miss" else "is left out"
    return replace(truth, rule=f"{rule.title}: {truth.rule} A query without a right answer {without}.")


def size_remark(name: str, queries: int, database: int) -> str | None:
    """A sentence where the folders do not hold what was published, so that the figure is not comparable."""
    rule = image_set(name)
    if (queries, database) == (rule.queries, rule.database):
        return None
    return (
        f"{rule.title} has {rule.queries} queries and {rule.database} database images, these folders {queries} and "
        f"{database}: the figures are not comparable with published ones."
    )
