import csv
import json
import os

import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.matches import (
    CSV_COLUMNS,
    MatchRecord,
    RunInfo,
    match_writer,
    read_matches,
    read_run,
    write_csv,
    write_run,
)
from vpr_ros.recognition.types import RETRIEVAL_LOGGED, Hypothesis, Recognition, ScoredKeyframe


def recognition(status="accepted", probability=0.75, stamp=1_700_000_000_123_456_789):
    hypotheses = (
        Hypothesis(keyframe_id=7, probability=probability, similarity=0.5, row=3, T_map_base=None, stamp_ns=1),
        Hypothesis(keyframe_id=2, probability=0.125, similarity=0.25, row=1, T_map_base=None, stamp_ns=2),
    )
    return Recognition(
        stamp_ns=stamp,
        status=status,
        reason='said "so", twice',
        message="",
        p_unknown=0.125,
        hypotheses=hypotheses,
        retrieval=tuple((i, 1.0 - i / 64) for i in range(40)),
    )


def records():
    unknown = Recognition(3, (), 1.0, "unknown", "", "", ())
    return [MatchRecord.from_recognition(r) for r in (recognition(), recognition("rejected"), unknown)]


def write_matches(path, records):
    with match_writer(path) as writer:
        for record in records:
            writer.write(record)


def test_only_an_accepted_answer_names_a_keyframe():
    accepted, rejected, unknown = records()
    assert (accepted.keyframe_id, accepted.probability) == (7, 0.75)
    assert (rejected.keyframe_id, rejected.probability) == (None, None)
    assert rejected.best == ScoredKeyframe(7, 0.75, 0.5)
    assert unknown.best is None
    assert len(accepted.retrieval) == RETRIEVAL_LOGGED


def test_jsonl_round_trip_keeps_nanoseconds_and_field_names(tmp_path):
    write_matches(tmp_path / "deep" / "matches.jsonl", records())
    assert read_matches(tmp_path / "deep" / "matches.jsonl") == records()
    first = json.loads((tmp_path / "deep" / "matches.jsonl").read_text().splitlines()[0])
    assert first["stamp_ns"] == 1_700_000_000_123_456_789
    assert first["hypotheses"][0] == {"keyframe_id": 7, "probability": 0.75, "similarity": 0.5}
    assert first["retrieval"][1] == [1, 1.0 - 1 / 64]


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "matches.jsonl"
    write_matches(path, records())
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last + 1, len(whole) - 1, 7):
        path.write_bytes(whole[:cut])
        assert read_matches(path) == records()[:2]
    path.write_bytes(whole[:-1])  # whole record, only the line end is missing
    assert read_matches(path) == records()


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        '{"stamp_ns": 1}',
        '{"stamp_ns": 1, "status": "fine", "p_unknown": 0, '
        '"keyframe_id": null, "probability": null, "hypotheses": [], "retrieval": []}',
    ],
)
def test_a_bad_line_inside_is_named(tmp_path, bad):
    path = tmp_path / "matches.jsonl"
    write_matches(path, records())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], bad, lines[2]]) + "\n")
    with pytest.raises(VprError, match="line 2"):
        read_matches(path)


def test_missing_file_and_unwritable_folder_are_sentences(tmp_path):
    with pytest.raises(VprError, match="cannot read"):
        read_matches(tmp_path / "none.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(VprError, match="cannot write"):
        write_matches(tmp_path / "file" / "matches.jsonl", records())


def test_every_record_stays_as_soon_as_it_is_written(tmp_path):
    path = tmp_path / "matches.jsonl"
    with pytest.raises(KeyboardInterrupt), match_writer(path) as writer:
        for count, record in enumerate(records(), 1):
            writer.write(record)
            assert read_matches(path) == records()[:count]
        raise KeyboardInterrupt
    assert read_matches(path) == records()
    assert os.listdir(tmp_path) == ["matches.jsonl"]


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(VprError, match="not finite"):
        MatchRecord.from_recognition(recognition(probability=float("nan")))
    with pytest.raises(VprError, match="status"):
        MatchRecord.from_recognition(recognition("maybe"))


def test_the_real_recognition_type_round_trips(tmp_path):
    place = Hypothesis(keyframe_id=4, row=0, probability=0.25, similarity=0.5, T_map_base=None, stamp_ns=1)
    answer = Recognition(9, (place,), 0.75, "rejected", "doubt", "probability 0.25 is too low", ((4, 0.5),), "reset")
    record = MatchRecord.from_recognition(answer)
    write_matches(tmp_path / "m.jsonl", [record])
    assert read_matches(tmp_path / "m.jsonl") == [record]
    assert record.explanation == "probability 0.25 is too low" and record.note == "reset"
    best_guess = {**record.to_dict(), "keyframe_id": 4, "probability": 0.25}  # as another writer may name it
    assert MatchRecord.from_dict(best_guess).keyframe_id is None


def test_csv_has_one_row_per_frame(tmp_path):
    write_csv(tmp_path / "matches.csv", records())
    with open(tmp_path / "matches.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == 3
    assert rows[0]["keyframe_id"] == "7" and rows[0]["reason"] == 'said "so", twice'
    assert rows[1]["keyframe_id"] == "" and rows[1]["best_keyframe_id"] == "7"
    assert rows[2]["best_keyframe_id"] == "" and rows[2]["retrieved_keyframe_id"] == ""


def test_run_description_round_trip(tmp_path):
    run = RunInfo(map="a.vpr", counts={"accepted": 3}, fps=12.5, extra={"odometry": True})
    write_run(tmp_path / "run.json", run)
    assert read_run(tmp_path / "run.json") == run
    (tmp_path / "run.json").write_text("[1, 2]")
    with pytest.raises(VprError, match="not a run description"):
        read_run(tmp_path / "run.json")
