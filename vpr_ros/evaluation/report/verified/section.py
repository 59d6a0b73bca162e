"""The section on verified matches."""

from collections import Counter

import numpy as np

from vpr_ros.evaluation.report.inputs import ReportInput
from vpr_ros.evaluation.report.page import Figure, Figures, Lines, Section, Table
from vpr_ros.evaluation.report.shots import evenly
from vpr_ros.evaluation.report.verified.drawings import error_plot, pair_picture
from vpr_ros.evaluation.verified import PoseErrors, VerifiedMatch

PAIRS = 6  # of pictures that are drawn


def shown(report: ReportInput) -> list[VerifiedMatch]:
    """An even choice of the verified matches that have keypoints to draw."""
    rows = [n for n, match in enumerate(report.verified) if match.accepted and len(match.keypoints)]
    return [report.verified[n] for n in evenly(np.array(rows, np.int64), PAIRS).tolist()]


def verified(report: ReportInput) -> Section | None:
    """What the verifications say, some of them as lines between both pictures, and the errors of measured poses."""
    if not report.verified:
        return None
    blocks: list[Table | Lines | Figures] = [_counts(report)]
    figures = [figure for match in shown(report) if (figure := _pair(report, match)) is not None]
    if report.pose_errors is not None:
        blocks += _errors(report.pose_errors)
        plot = error_plot(report.pose_errors)
        meaning = "Share of the measured poses that are at most so far from the truth; the scale is logarithmic."
        figures.append(Figure(plot, "Error of measured poses", meaning, wide=True))
    if figures:
        blocks.append(Figures.centred(figures))
    return Section(
        "Verified by geometry",
        "Accepted matches were looked at a second time: do keypoints of both pictures, or both clouds, fit one "
        "geometry? Where the map knows how far away things are, that measures the pose.",
        blocks,
    )


def _counts(report: ReportInput) -> Table:
    counts = Counter((m.method, m.reason, m.T_keyframe_query is not None) for m in report.verified)
    rows = [
        [method, reason.replace("_", " "), "yes" if posed else "no", n, n / len(report.verified)]
        for (method, reason, posed), n in counts.most_common()
    ]
    return Table("", ["by", "outcome", "pose measured", "matches", "share"], rows)


def _errors(errors: PoseErrors) -> list[Table | Lines]:
    rows = [
        ["position", *(f"{np.percentile(errors.metres, p):.3f} m" for p in (50, 90, 99))],
        ["heading", *(f"{np.percentile(errors.degrees, p):.2f}°" for p in (50, 90, 99))],
    ]
    far, squared = int((errors.metres > 1).sum()), errors.squared.mean()
    said = (
        f"{len(errors.metres)} measured poses have a known truth; {far} are more than 1 m off. Against their own "
        f"covariance the error squared is {squared:.1f} on average (6 where that is right)."
    )
    return [Table("", ["error of measured poses", "median", "90 of 100", "99 of 100"], rows), Lines([said])]


def _pair(report: ReportInput, match: VerifiedMatch) -> Figure | None:
    query = report.query_images([match.stamp_ns]).get(match.stamp_ns) if report.query_images is not None else None
    keyframe = report.keyframe_image(match.keyframe_id) if report.keyframe_image is not None else None
    row = next((n for n, r in enumerate(report.records) if r.stamp_ns == match.stamp_ns), None)
    title = f"Frame {row} and keyframe {match.keyframe_id}"
    drawn = pair_picture(query, keyframe, match.keypoints, f"{title}: keypoints that agree")
    if drawn is None:
        return None
    meaning = f"Lines join keypoints that agree with the {match.reason.replace('_', ' ')} match"
    if match.T_keyframe_query is not None:
        x, y, z = match.T_keyframe_query[:3, 3].tolist()
        meaning += f"; the robot stands {x:+.2f} m ahead, {y:+.2f} m to the left and {z:+.2f} m above the keyframe"
    return Figure(drawn, title, f"{meaning}. Agreement {match.agreement:.2f}.")
