"""Results of localisation, frame by frame: matches.jsonl, matches.csv and run.json."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from vpr_ros.atomic import lasting_lines, whole_text
from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.recognition.types import RETRIEVAL_LOGGED, Recognition, ScoredKeyframe, Status

STATUSES: tuple[Status, ...] = get_args(Status)
MOST = 2**63 - 1  # of a stamp and of a keyframe's number


@dataclass(frozen=True)
class MatchRecord:
    """The answer to one query frame.

    `keyframe_id` and `probability` are set only where `status` is "accepted"; the best guess of any frame is
    `best`. `retrieval` is the plain single-frame search result, best first, before any filtering.
    """

    stamp_ns: int
    status: Status
    reason: str  # a word of `recognition.types.Reason`; files of other versions may hold others
    p_unknown: float
    keyframe_id: int | None = None
    probability: float | None = None
    hypotheses: tuple[ScoredKeyframe, ...] = ()
    retrieval: tuple[tuple[int, float], ...] = ()
    message: str = ""  # the reason as a sentence for people
    note: str = ""  # what happened to the filter before this frame

    @property
    def explanation(self) -> str:
        return self.message or self.reason

    @property
    def accepted(self) -> bool:
        return self.status == "accepted"

    @property
    def best(self) -> ScoredKeyframe | None:
        """The most probable place, whether it was accepted or not."""
        return self.hypotheses[0] if self.hypotheses else None

    @classmethod
    def from_recognition(cls, recognition: Recognition) -> "MatchRecord":
        """The record of an answer.

        Raises VprError for a status outside STATUSES, a probability that is not finite, or an accepted answer
        without a place.
        """
        hypotheses = tuple(
            ScoredKeyframe(int(h.keyframe_id), float(h.probability), float(h.similarity))
            for h in recognition.hypotheses
        )
        accepted = recognition.status == "accepted" and bool(hypotheses)
        return _checked(
            cls(
                stamp_ns=int(recognition.stamp_ns),
                status=recognition.status,
                reason=recognition.reason,
                p_unknown=float(recognition.p_unknown),
                keyframe_id=hypotheses[0].keyframe_id if accepted else None,
                probability=hypotheses[0].probability if accepted else None,
                hypotheses=hypotheses,
                retrieval=tuple((int(k), float(s)) for k, s in recognition.retrieval)[:RETRIEVAL_LOGGED],
                message=recognition.message,
                note=recognition.note,
            )
        )

    def to_dict(self) -> dict[str, Any]:
        words = {name: text for name, text in (("message", self.message), ("note", self.note)) if text}
        return {
            "stamp_ns": self.stamp_ns,
            "status": self.status,
            "reason": self.reason,
            "keyframe_id": self.keyframe_id,
            "probability": self.probability,
            "p_unknown": self.p_unknown,
            "hypotheses": [asdict(h) for h in self.hypotheses],
            "retrieval": [list(pair) for pair in self.retrieval],
            **words,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MatchRecord":
        """Inverse of `to_dict`; an answer that was not accepted has its keyframe in `best` only.

        Raises VprError for missing fields and values of the wrong kind.
        """
        try:
            accepted = data["status"] == "accepted"
            return _checked(
                cls(
                    stamp_ns=int(data["stamp_ns"]),
                    status=data["status"],
                    reason=str(data.get("reason") or ""),
                    p_unknown=float(data["p_unknown"]),
                    keyframe_id=None if data["keyframe_id"] is None or not accepted else int(data["keyframe_id"]),
                    probability=None if data["probability"] is None or not accepted else float(data["probability"]),
                    hypotheses=tuple(
                        ScoredKeyframe(int(h["keyframe_id"]), float(h["probability"]), float(h["similarity"]))
                        for h in data["hypotheses"]
                    ),
                    retrieval=tuple((int(k), float(s)) for k, s in data["retrieval"]),
                    message=str(data.get("message") or ""),
                    note=str(data.get("note") or ""),
                )
            )
        except KeyError as error:
            raise VprError(f"a match record lacks the field {error}") from error
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise VprError(f"a match record holds a value of the wrong kind ({error})") from error


def _checked(record: MatchRecord) -> MatchRecord:
    if record.status not in STATUSES:
        raise VprError(f"status {record.status!r} of frame {record.stamp_ns} is none of {', '.join(STATUSES)}")
    if record.accepted and record.keyframe_id is None:
        raise VprError(f"frame {record.stamp_ns} is accepted but names no keyframe")
    whole = [record.stamp_ns, record.keyframe_id or 0]
    whole += [h.keyframe_id for h in record.hypotheses] + [k for k, _ in record.retrieval]
    if not all(0 <= number <= MOST for number in whole):
        raise VprError("a stamp or keyframe number is no whole number of 64 bits from 0 on")
    numbers = [record.p_unknown, record.probability or 0.0]
    numbers += [x for h in record.hypotheses for x in (h.probability, h.similarity)] + [s for _, s in record.retrieval]
    if not all(map(math.isfinite, numbers)):
        raise VprError(f"frame {record.stamp_ns} has a probability or similarity that is not finite")
    return record


class MatchWriter:
    """Writes records one at a time; made by `match_writer`."""

    def __init__(self, append: Callable[[str], None]):
        self._append = append
        self.count = 0

    def write(self, record: MatchRecord) -> None:
        self._append(json.dumps(record.to_dict(), allow_nan=False, separators=(",", ":")))
        self.count += 1


@contextmanager
def match_writer(path: str | Path) -> Iterator[MatchWriter]:
    """Stream records to a new matches.jsonl; each stays as soon as it is written, as in `lasting_lines`."""
    with lasting_lines(path) as append:
        yield MatchWriter(append)


def read_matches(path: str | Path) -> list[MatchRecord]:
    """Records of a matches.jsonl in file order.

    A last line without its line end that cannot be parsed was cut off by an interrupted writer: it is left out. Any
    other bad line raises VprError with its number.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise VprError(f"cannot read {path}: {error.strerror}; `vpr_ros localize` writes it") from error
    lines = text.split("\n")
    records: list[MatchRecord] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = parse_json(line)
            if not isinstance(data, dict):
                raise VprError("a match record is a JSON object")
            records.append(MatchRecord.from_dict(data))
        except (json.JSONDecodeError, VprError) as error:
            if isinstance(error, json.JSONDecodeError) and number == len(lines):
                return records
            raise VprError(
                f"{path} line {number} is not a match record ({error}); run `vpr_ros localize` again"
            ) from error
    return records


CSV_COLUMNS = (
    "stamp_ns",
    "status",
    "keyframe_id",
    "probability",
    "p_unknown",
    "best_keyframe_id",
    "best_probability",
    "best_similarity",
    "second_keyframe_id",
    "second_probability",
    "retrieved_keyframe_id",
    "retrieved_similarity",
    "reason",
)


def write_csv(path: str | Path, records: Iterable[MatchRecord]) -> None:
    """Write matches.csv for spreadsheets: one row per frame, the two best places and the first retrieved keyframe."""
    with whole_text(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for r in records:
            best = astuple(r.hypotheses[0]) if r.hypotheses else ("", "", "")
            second = astuple(r.hypotheses[1])[:2] if len(r.hypotheses) > 1 else ("", "")
            first = r.retrieval[0] if r.retrieval else ("", "")
            accepted = ("", "") if r.keyframe_id is None else (r.keyframe_id, r.probability)
            writer.writerow([r.stamp_ns, r.status, *accepted, r.p_unknown, *best, *second, *first, r.explanation])


@dataclass
class RunInfo:
    """run.json: what was run on what. `counts` counts frames by status, `skipped` unusable messages by reason."""

    map: str = ""
    map_id: str = ""
    bag: str = ""
    checkpoint: str = ""
    fingerprint: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    fps: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def write_run(path: str | Path, run: RunInfo) -> None:
    """Write run.json, whole or not at all; entries of `extra` are written beside the named fields."""
    data = asdict(run)
    data.update(data.pop("extra"))
    with whole_text(path) as stream:
        stream.write(json.dumps(data, indent=2, default=str) + "\n")


def read_run(path: str | Path) -> RunInfo:
    """Read run.json; unknown entries go to `extra`. Raises VprError for a missing or damaged file."""
    try:
        data = parse_json(Path(path).read_text(encoding="utf-8"))
        known = {f.name for f in fields(RunInfo)} - {"extra"}
        return RunInfo(
            **{k: v for k, v in data.items() if k in known}, extra={k: v for k, v in data.items() if k not in known}
        )
    except OSError as error:
        raise VprError(f"cannot read {path}: {error.strerror}; `vpr_ros localize` writes it") from error
    except (ValueError, AttributeError) as error:
        raise VprError(f"{path} is not a run description ({error}); run `vpr_ros localize` again") from error
