"""The table of frames behind the page: it says what the records say, and its pictures stay within their bounds."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from simulated_run import simulate

from vpr_ros.evaluation.report.browsing import browsed
from vpr_ros.evaluation.report.frames import frame_table
from vpr_ros.evaluation.report.notable import notable_frames
from vpr_ros.evaluation.report.run_report import ReportInput, render_report
from vpr_ros.evaluation.report.shots import (
    PictureBudget,
    chosen_frames,
    in_turn,
    nearest,
    small_jpeg,
)
from vpr_ros.evaluation.similarities import SimilarityMatrix
from vpr_ros.evaluation.summary import evaluate


def jpeg(number):
    return cv2.imencode(".jpg", np.full((56, 56, 3), number % 256, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def run():
    return simulate(seed=1, spacing_m=6.0)


def report_of(run, **changes):
    inputs = {
        "truth": run.truth,
        "keyframe_ids": run.keyframe_ids,
        "query_images": lambda stamps: {s: np.full((30, 40, 3), 90, np.uint8) for s in stamps},
        "keyframe_image": jpeg,
    }
    return ReportInput(run.records, **{**inputs, **changes})


def said(table, name, i):
    """A sentence of the table, put together again."""
    parts = table[name + "s"][table[name][i]].split("\0")
    numbers = [*table[name + "_numbers"][i], ""]
    return "".join(text + number for text, number in zip(parts, numbers, strict=True))


def test_every_frame_is_in_the_table_as_the_records_have_it(run):
    records = [replace(run.records[0], note="the clock went back by -0.5 s, 2 frames"), *run.records[1:]]
    e = evaluate(records, run.truth)
    table = json.loads(json.dumps(frame_table(report_of(replace(run, records=records)), e, ())))
    assert table["count"] == len(records)
    for i, record in enumerate(records):
        best, second = record.hypotheses
        assert int(table["first_ns"]) + table["after_ns"][i] == record.stamp_ns
        assert table["statuses"][table["status"][i]] == record.status
        assert said(table, "reason", i) == record.explanation and said(table, "note", i) == record.note
        assert (table["best"][i], table["second"][i]) == (best.keyframe_id, second.keyframe_id)
        assert table["probability"][i] == pytest.approx(best.probability, abs=1e-4)
        assert table["second_probability"][i] == pytest.approx(second.probability, abs=1e-4)
        assert table["similarity"][i] == pytest.approx(record.retrieval[0][1], abs=1e-4)
        assert table["best_similarity"][i] == pytest.approx(best.similarity, abs=1e-4)
        assert table["unknown"][i] == pytest.approx(record.p_unknown, abs=1e-4)
        assert run.keyframe_ids[table["keyframe"][i]] == best.keyframe_id
        assert (table["x"][i], table["y"][i]) == pytest.approx(run.truth.query_xy[i], abs=0.06)
        right = table["right"][i]
        assert right in run.truth.positives[i] if len(run.truth.positives[i]) else right is None
    assert len({len(v) for k, v in table.items() if k in ("best", "x", "outcome", "rank", "picture")}) == 1


def test_frames_without_a_place_have_holes(run):
    silent = [
        replace(r, status="unknown", keyframe_id=None, probability=None, hypotheses=(), retrieval=())
        for r in run.records[:4]
    ]
    table = frame_table(ReportInput(silent), None, ())
    json.dumps(table, allow_nan=False)
    assert table["best"] == table["second"] == table["probability"] == table["x"] == table["picture"] == [None] * 4
    assert "outcome" not in table and table["frame_pictures"] == {}


def test_a_picture_that_is_missing_is_replaced_by_the_nearest(run):
    budget = PictureBudget(frames=20, keyframes=30)
    e = evaluate(run.records, run.truth)
    table = frame_table(report_of(run), e, [[5]], budget)
    kept = sorted(map(int, table["frame_pictures"]))
    assert len(kept) <= 20 and {0, 5, len(run.records) - 1} <= set(kept)
    assert len(table["keyframe_pictures"]) == 30
    row = {int(k): i for i, k in enumerate(run.keyframe_ids)}
    held = [row[int(k)] for k in table["keyframe_pictures"]]
    for i in range(len(run.records)):
        assert abs(table["picture"][i] - i) == min(abs(k - i) for k in kept)
        for name in ("best", "second", "right"):
            if table[name][i] is not None:
                own, shown = row[table[name][i]], row[table[name + "_picture"][i]]
                assert abs(shown - own) == min(abs(k - own) for k in held)


def test_pictures_of_the_chosen_frames_are_their_own(run):
    table = frame_table(report_of(run), None, [[7, 50]], PictureBudget(frames=40, keyframes=200))
    for i in map(int, table["frame_pictures"]):
        assert table["best_picture"][i] == table["best"][i]


def test_unreadable_pictures_are_left_out(run):
    report = report_of(run, query_images=lambda stamps: dict.fromkeys(stamps, b"torn"), keyframe_image=lambda k: None)
    table = frame_table(report, None, ())
    assert table["picture"] == table["best_picture"] == [None] * len(run.records)
    section = browsed(report, None, [], [])
    assert "There are no pictures" in section.blocks[0].note


def test_all_frames_are_chosen_where_they_are_few_and_an_even_part_where_they_are_many():
    assert chosen_frames(30, [[3]], 30).tolist() == list(range(30))
    assert chosen_frames(0, [], 30).tolist() == []
    some = chosen_frames(10_000, [[17, 18], [9_000]], 300)
    assert {0, 17, 18, 9_000, 9_999} <= set(some) and len(some) <= 300 and len(set(some)) == len(some)
    assert np.diff(some).max() <= 40
    crowded = chosen_frames(10_000, [[7], range(5_000, 10_000)], 300)
    assert 7 in crowded and len(crowded) <= 300 and np.diff(crowded).max() <= 70 and (crowded < 5_000).sum() >= 70


def test_keyframes_are_chosen_once_in_the_order_of_the_lists():
    assert in_turn([[3, 1, 3], [1, 2]], 10) == [3, 1, 2]
    assert in_turn([[1, 2], range(100, 200)], 5) == [1, 2, 100, 150, 199]
    assert in_turn([range(10), [11]], 3) == [0, 4, 9]


def test_nearest_is_that_of_a_plain_search():
    kept = np.array([3, 4, 9, 20])
    found = nearest(np.arange(-2, 30), kept)
    for position, one in zip(range(-2, 30), found, strict=True):
        assert abs(one - position) == min(abs(k - position) for k in kept)


def test_pictures_are_made_small_whatever_they_show():
    budget = PictureBudget(pixels=10_000, bytes=3_000)
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    data = small_jpeg(noise, budget)
    assert data is not None and len(data) <= 3_000
    back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert back.shape[0] * back.shape[1] <= 10_000
    assert back.shape[1] / back.shape[0] == pytest.approx(4 / 3, abs=0.1)
    red = np.zeros((400, 800, 3), np.uint8)
    red[..., 0] = 200
    back = cv2.imdecode(np.frombuffer(small_jpeg(red), np.uint8), cv2.IMREAD_COLOR)
    middle = back[back.shape[0] // 2, back.shape[1] // 2]
    assert middle[2] > 180 > 30 > middle[0]  # still red
    assert small_jpeg(jpeg(9)) == jpeg(9)  # small already
    for bad in (None, b"", b"\xff\xd8 torn", np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)):
        assert small_jpeg(bad) is None


def test_the_page_of_ten_thousand_frames_stays_small():
    run = simulate(seed=2, spacing_m=0.182)
    assert len(run.records) >= 9_900
    noise = np.random.default_rng(0).integers(0, 256, (180, 240, 3), dtype=np.uint8)  # the worst that a JPEG can be of
    whole, asked = small_jpeg(noise), []

    def query_images(stamps):
        asked.extend(stamps)
        return dict.fromkeys(stamps, whole)

    rng = np.random.default_rng(1)
    matrix = SimilarityMatrix(
        rng.normal(0, 0.2, (313, 370)).astype(np.float16), np.arange(313) * 32, len(run.keyframe_ids), 2
    )
    matrix = replace(matrix, values=matrix.values[:, : -(-len(run.keyframe_ids) // 2)])
    text = render_report(report_of(run, query_images=query_images, keyframe_image=lambda k: whole, similarities=matrix))
    assert len(asked) <= 300
    assert len(text) < 9_000_000
    assert "of 300 of" not in text or "the nearest is shown" in text
    e = evaluate(run.records, run.truth)
    pictured = {row for k in notable_frames(run.records, run.truth, e) for row in (f.row for f in k.frames)}
    stamps = {run.records[row].stamp_ns for row in pictured}
    assert stamps and stamps <= set(asked)
