"""What to try after a run that accepted almost nothing, or everything: sentences with the next command."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.configuration import DecisionConfig
from vpr_ros.evaluation.margins import acceptance_threshold
from vpr_ros.evaluation.matches import MatchRecord, RunInfo
from vpr_ros.evaluation.truth import Truth
from vpr_ros.recognition.decision import REASONS
from vpr_ros.recognition.types import Reason

FEWEST_FRAMES = 10  # a shorter run says nothing
FEW = 0.1  # share of accepted frames below which that is the news
ALL = 0.99  # share from which everything was accepted
LOWEST = 0.5  # a place that is less probable than this is nothing to accept
# What to change where the most frequent reason is neither the probability nor being off the map.
_REMEDIES: dict[str, str] = {
    "no_map": "The map has no keyframes: `vpr_ros info {map}` shows it; map a drive first.",
    "unsupported": "Let each frame retrieve more keyframes (--set top_k=100), or take another calibration.",
    "unconfirmed": "Places wait for frames that agree: --set min_consistent_frames=1 accepts them at once.",
    "too_recent": "Only the drive's own past was in the map: name the map of an earlier drive with --map.",
    "ambiguous": "Places of the map look alike: --set min_margin=0.05 accepts the better of two, right or wrong.",
}


def advice(records: Sequence[MatchRecord], run: RunInfo, truth: Truth | None = None) -> list[str]:
    """Sentences about a run, for people; empty where nothing is unusual.

    With truth, only the frames that lay on the map are counted.
    """
    if truth is not None:
        on_map = [record for record, known in zip(records, truth.on_map, strict=True) if known]
        return few_accepted(on_map, run, "frames on the map")
    return few_accepted(records, run) or all_accepted(records, run)


def few_accepted(records: Sequence[MatchRecord], run: RunInfo, which: str = "frames") -> list[str]:
    """Why fewer than a tenth of the frames were accepted, and what to try; empty where it is more.

    With truth, pass the frames that lay on the map, and say so in `which`: that few others are accepted is right.
    """
    accepted = sum(r.accepted for r in records)
    if len(records) < FEWEST_FRAMES or accepted >= FEW * len(records):
        return []
    reason, count = Counter(r.reason for r in records if not r.accepted).most_common(1)[0]
    best = np.array([r.best.probability if r.best else 0.0 for r in records])
    needed = _needed(run)
    sentences = [
        f"Only {accepted} of {len(records)} {which} were accepted. The most frequent reason, on {count}, is {reason}"
        f"{_meaning(reason)}; the best place of a frame reached probability {best.max():.2f} at most, half of them "
        f"{np.median(best):.2f}, and {needed:.2f} is needed."
    ]
    if reason in _REMEDIES and reason != "ambiguous":
        return [*sentences, _REMEDIES[reason].format(map=_shown(run.map))]
    sentences.append(_about_calibration(run))
    lower = _lower(records, best, needed, run)
    return [*sentences, *([lower] if lower else []), *([_REMEDIES[reason]] if reason == "ambiguous" else [])]


def all_accepted(records: Sequence[MatchRecord], run: RunInfo) -> list[str]:
    """What to check where all frames were accepted by probabilities that were fitted on nothing; empty elsewhere."""
    accepted = sum(r.accepted for r in records)
    if len(records) < FEWEST_FRAMES or accepted < ALL * len(records) or any(r.status == "unknown" for r in records):
        return []
    unfitted = run.extra.get("calibration") in (None, "default")
    if not unfitted and _needed(run) >= LOWEST:
        return []
    why = "the probabilities were fitted on nothing" if unfitted else f"{_needed(run):.2f} was enough"
    return [
        f"{accepted} of {len(records)} frames were accepted and none was off the map, but {why}: look at a few in "
        "report.html, and localize a drive through places that the map does not have, which must come out as unknown.",
        _calibrate(run) if unfitted else "A higher --accept-probability, or --precision, accepts less.",
    ]


def _needed(run: RunInfo) -> float:
    """The probability from which on places were accepted."""
    known = acceptance_threshold(run)
    return DecisionConfig.accept_probability if known is None else known


def _has_odometry(run: RunInfo) -> bool:
    return bool(_section(run.config, "topics").get("odom"))


def _section(data: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of run.json; empty where a run of another version has none."""
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _meaning(reason: str) -> str:
    known: dict[Reason, str] = REASONS
    sentence = next((text for name, text in known.items() if name == reason), "")
    return f" ({sentence[0].lower()}{sentence[1:].rstrip('.')})" if sentence else ""


def _about_calibration(run: RunInfo) -> str:
    source = run.extra.get("calibration")
    if source == "labelled drive":
        return (
            "The probabilities were fitted to this map on a labelled drive: either this drive leaves the map, or it "
            "looks different; report.html shows frames with their best places."
        )
    if source == "self-matches":
        return (
            "The probabilities were lowered by what the map shows of itself, which knows no other light or season. "
            f"{_calibrate(run)} Or drop that by `vpr_ros calibrate {_shown(run.map)} --reset`."
        )
    return f"The probabilities were not fitted to this map. {_calibrate(run)}"


def _calibrate(run: RunInfo) -> str:
    truth = "--map-bag FIRST_BAG" if _has_odometry(run) else "--truth frames:2"
    how = "with true poses in both bags" if _has_odometry(run) else "for drives in step; also names, a CSV or an .npy"
    return (
        f"If you know where a drive went, fit them with `vpr_ros calibrate {_shown(run.map)} --drive "
        f"{_shown(run.bag, 'BAG')} {truth}` ({how})."
    )


def _lower(records: Sequence[MatchRecord], best: np.ndarray, needed: float, run: RunInfo) -> str:
    """The probability that would accept half of the rejected frames, where it is one to accept."""
    rejected = best[[r.status == "rejected" for r in records]]
    decision = _section(_section(run.config, "recognition"), "decision")
    if decision.get("accept_precision"):
        return f"Or ask for less than --precision {decision['accept_precision']:g}."
    if not len(rejected) or np.floor(100 * np.median(rejected)) / 100 < LOWEST:
        return ""
    value = np.floor(100 * np.median(rejected)) / 100
    if value >= needed:
        return ""
    return (
        f"Or accept less sure places, and more wrong ones with them: --accept-probability {value:.2f} is reached by "
        f"half of the {len(rejected)} rejected frames (`vpr_ros parameters localize` has the other rules, for --set "
        "and --config)."
    )


def _shown(path: str, unknown: str = "MAP") -> str:
    """A path as it is typed: from the working folder where it lies below it."""
    if not path:
        return unknown
    relative = os.path.relpath(path)
    return shlex.quote(str(Path(path)) if relative.startswith("..") else relative)
