"""Bag to map to matches to figures, through the command line, on real bags."""

import csv
import json
import re
import shutil

import numpy as np

from vpr_ros.evaluation.similarities import read_similarities
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import DriveTopics
from vpr_ros.student import DescriptorExtractor


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_map_keeps_spaced_keyframes_with_odometry_and_thumbnails(first_map, checkpoint):
    extractor = DescriptorExtractor.from_checkpoint(checkpoint)
    with PlaceMap.open(first_map, fingerprint=extractor.fingerprint) as place_map:
        keyframes = place_map.keyframes()
        assert len(keyframes) == 30  # frames are 3 m apart, the gate wants 2 m
        assert np.isfinite(keyframes.T_odom_base).all()
        assert [s.name for s in place_map.sessions()] == ["first"]
        assert place_map.datum is not None
        assert place_map.thumbnail(int(keyframes.ids[0]))[:2] == b"\xff\xd8"


def test_ground_truth_is_never_stored_in_a_map(bags, checkpoint, vpr, tmp_path):
    result = vpr("map", bags["first"], "-o", tmp_path / "m.vpr", "-c", checkpoint, "--pose-topic", "none")
    assert result.exit_code == 0, result.output
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        keyframes = place_map.keyframes()
    np.testing.assert_array_equal(keyframes.T_map_base, keyframes.T_odom_base)
    assert np.abs(keyframes.T_map_base[:, 0, 3]).max() < 100  # the truth lies at 500 m


def test_a_second_drive_becomes_a_second_session(bags, first_map, checkpoint, vpr, tmp_path):
    town = shutil.copy(first_map, tmp_path / "town.vpr")
    result = vpr("map", bags["second"], "-o", town, "-c", checkpoint, "--session", "tuesday", "--distance-m", 5)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(town) as place_map:
        assert [s.name for s in place_map.sessions()] == ["first", "tuesday"]
        assert int((place_map.keyframes().sessions == 2).sum()) == 15


def test_a_map_grows_by_what_it_does_not_know(bags, first_map, checkpoint, vpr, tmp_path):
    town = shutil.copy(first_map, tmp_path / "town.vpr")
    call = ("map", bags["second"], "-o", town, "-c", checkpoint, "--pose-topic", "/fix", "--known-lead", 0.001)
    result = vpr(*call)
    known = int(re.search(r"(\d+) views more are answered by the map", result.stdout)[1])
    assert result.exit_code == 0 and known >= 20, result.output
    with PlaceMap.open(town) as place_map:
        assert len(place_map) == 60 - known and place_map.passed_over == {2: known}


def test_keyframe_every_counts_frames(bags, checkpoint, vpr, tmp_path):
    path = tmp_path / "m.vpr"
    result = vpr("map", bags["first"], "-o", path, "-c", checkpoint, "--odom-topic", "none", "--keyframe-every", 4)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(path) as place_map:
        assert len(place_map) == 8


def test_localize_answers_every_frame_and_writes_all_files(run_folder):
    records = lines_of(run_folder / "matches.jsonl")
    assert len(records) == 30
    with open(run_folder / "matches.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(r["stamp_ns"]) for r in rows] == [r["stamp_ns"] for r in records]
    run = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    assert sum(run["counts"].values()) == 30 and run["skipped"] == {}
    assert run["config"]["topics"]["image"] == "/camera/image/compressed"
    assert run["config"]["topics"]["pose"] is None


def test_the_right_street_is_retrieved(run_folder):
    first = [r["retrieval"][0][0] for r in lines_of(run_folder / "matches.jsonl")]
    right = sum(abs(found - (i + 1)) <= 1 for i, found in enumerate(first))
    assert right >= 27


def test_batches_give_the_same_answers_as_single_frames(bags, first_map, checkpoint, run_folder, vpr, tmp_path):
    arguments = ("--map", first_map, "-c", checkpoint, "--no-report", "-o", tmp_path / "run", "--batch", 7)
    assert vpr("localize", bags["second"], *arguments).exit_code == 0
    alone, batched = lines_of(run_folder / "matches.jsonl"), lines_of(tmp_path / "run" / "matches.jsonl")
    for a, b in zip(alone, batched, strict=True):
        assert (a["stamp_ns"], a["status"], a["keyframe_id"]) == (b["stamp_ns"], b["status"], b["keyframe_id"])
        assert a["p_unknown"] == np.float64(b["p_unknown"]) or abs(a["p_unknown"] - b["p_unknown"]) < 1e-3


def test_the_mean_of_the_drive_is_told_and_can_be_set(bags, first_map, checkpoint, run_folder, vpr, tmp_path):
    """The checkpoint has no calibration, and the default one is for means; batches change nothing with them either."""
    told = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))["drive_mean"]
    assert told["memory_frames"] == 60 and 0 < told["frames"] <= 30 and told["distance_to_map"] > 0
    for name, value, batch in (("off", 0, 1), ("alone", 20, 1), ("batched", 20, 7)):
        arguments = ("--map", first_map, "-c", checkpoint, "--no-report", "-o", tmp_path / name, "--batch", batch)
        assert vpr("localize", bags["second"], *arguments, "--drive-mean-frames", value).exit_code == 0
    runs = {n: json.loads((tmp_path / n / "run.json").read_text(encoding="utf-8")) for n in ("off", "alone", "batched")}
    assert runs["off"]["drive_mean"] == "off" and runs["off"]["config"]["recognition"]["drive_mean_frames"] == 0
    assert runs["alone"]["drive_mean"]["memory_frames"] == 20
    alone, batched = (lines_of(tmp_path / name / "matches.jsonl") for name in ("alone", "batched"))
    assert [r["retrieval"][0][0] for r in alone] == [r["retrieval"][0][0] for r in batched]
    assert alone != lines_of(tmp_path / "off" / "matches.jsonl")


def test_removing_the_ground_truth_changes_nothing(first_map, checkpoint, run_folder, vpr, tmp_path, street):
    bare = street.write_drive(
        tmp_path / "bare", street.drive_images(1, 30, 5), truth=False, start_ns=street.START_NS + 10**13, y_m=1.0
    )
    result = vpr("localize", bare, "--map", first_map, "-c", checkpoint, "--no-report", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "matches.jsonl").read_text() == (run_folder / "matches.jsonl").read_text()


def test_only_stamps_answers_those_frames(bags, first_map, checkpoint, run_folder, vpr, tmp_path):
    wanted = [r["stamp_ns"] for r in lines_of(run_folder / "matches.jsonl")][::3]
    listing = tmp_path / "stamps.txt"
    listing.write_text("# live run\n" + "\n".join(map(str, wanted)), encoding="utf-8")
    arguments = ("--map", first_map, "-c", checkpoint, "--no-report", "-o", tmp_path / "run", "--only-stamps", listing)
    assert vpr("localize", bags["second"], *arguments).exit_code == 0
    assert [r["stamp_ns"] for r in lines_of(tmp_path / "run" / "matches.jsonl")] == wanted


def test_the_matrix_of_similarities_is_that_of_the_logged_retrieval(run_folder, first_map):
    matrix = read_similarities(run_folder / "similarities.npz")
    assert matrix.values.shape == (30, 30) and matrix.step == 1
    np.testing.assert_array_equal(matrix.frames, np.arange(30))
    with PlaceMap.open(first_map) as place_map:
        row = {int(k): i for i, k in enumerate(place_map.keyframes().ids)}
    for frame, record in enumerate(lines_of(run_folder / "matches.jsonl")):
        for keyframe, similarity in record["retrieval"]:
            assert abs(matrix.values[frame, row[keyframe]] - similarity) < 2e-3


def test_eval_from_poses_writes_figures_and_report(bags, run_folder, vpr):
    result = vpr("eval", "run", run_folder, "--map-bag", bags["first"], "--query-bag", bags["second"], "--radius-m", 4)
    assert result.exit_code == 0, result.output
    figures = json.loads((run_folder / "eval.json").read_text(encoding="utf-8"))
    assert figures["on_map"] == 30 and figures["recall"]["1"] >= 0.9
    assert figures["drive_mean"]["memory_frames"] == 60
    report = (run_folder / "report.html").read_text(encoding="utf-8")
    assert "<html" in report and "base64" in report and "<script src" not in report and "drive_mean" in report
    table = json.loads(re.search(r'id="frames">(.*?)</script>', report)[1])
    assert len(table["frame_pictures"]) == 30 and len(table["keyframe_pictures"]) >= 25
    assert figures["margins"]["known"] == 30 and figures["margins"]["threshold"] == 0.95
    assert f"A place is accepted from probability 0.95 on: {figures['margins']['above']} of 30 frames" in " ".join(
        result.output.split()
    )


def test_a_run_that_was_moved_with_its_bag_and_map_keeps_its_pictures(
    bags, first_map, run_folder, vpr, tmp_path, street
):
    run = shutil.copytree(run_folder, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    facts |= {"bag": f"/gone/{bags['second'].name}", "map": f"/gone/{first_map.name}"}
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.copytree(bags["second"], tmp_path / bags["second"].name)
    shutil.copy(first_map, tmp_path / first_map.name)
    stamps = [r["stamp_ns"] for r in lines_of(run / "matches.jsonl")]
    rows = [f"{stamp},{street.START_NS + i * street.SECOND_NS // 2},1" for i, stamp in enumerate(stamps)]
    (tmp_path / "pairs.csv").write_text("query,reference,tolerance\n" + "\n".join(rows), encoding="utf-8")
    result = vpr("eval", "run", run, "--truth", tmp_path / "pairs.csv")
    assert result.exit_code == 0, result.output
    table = json.loads(re.search(r'id="frames">(.*?)</script>', (run / "report.html").read_text(encoding="utf-8"))[1])
    assert len(table["frame_pictures"]) == 30


def test_eval_from_pairs_agrees_with_poses(run_folder, vpr, tmp_path, street):
    run = shutil.copytree(run_folder, tmp_path / "run")
    stamps = [r["stamp_ns"] for r in lines_of(run / "matches.jsonl")]
    pairs = tmp_path / "pairs.csv"
    rows = [f"{stamp},{street.START_NS + i * street.SECOND_NS // 2},1" for i, stamp in enumerate(stamps)]
    pairs.write_text("query,reference,tolerance\n" + "\n".join(rows), encoding="utf-8")
    result = vpr("eval", "run", run, "--truth", pairs)
    assert result.exit_code == 0, result.output
    assert json.loads((run / "eval.json").read_text(encoding="utf-8"))["recall"]["1"] >= 0.9


def test_output_is_replaced_only_when_told(bags, first_map, checkpoint, run_folder, vpr, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    before = (run / "run.json").read_text()
    arguments = ("localize", bags["elsewhere"], "--map", first_map, "-c", checkpoint, "--no-report", "-o", run)
    refused = vpr(*arguments)
    assert refused.exit_code == 2 and "--force" in refused.stderr
    assert (run / "run.json").read_text() == before
    assert vpr(*arguments, "--force").exit_code == 0
    assert len(lines_of(run / "matches.jsonl")) == 12
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("three years of work")
    assert vpr(*arguments[:-1], foreign, "--force").exit_code == 2
    assert (foreign / "thesis.txt").exists()


def test_force_brings_the_old_output_back_when_the_new_run_fails(first_map, checkpoint, run_folder, vpr, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"not an mcap file")
    result = vpr("localize", broken, "--map", first_map, "-c", checkpoint, "-o", run, "--force")
    assert result.exit_code == 2
    assert len(lines_of(run / "matches.jsonl")) == 30


def test_ctrl_c_keeps_what_was_mapped(bags, checkpoint, tmp_path):
    from vpr_ros.offline.map_bag import MapBagConfig, map_bag

    def stop(frames: int, total: int):
        assert total == 30
        if frames == 10:
            raise KeyboardInterrupt

    extractor = DescriptorExtractor.from_checkpoint(checkpoint)
    path, config = tmp_path / "m.vpr", MapBagConfig(topics=DriveTopics(pose="none"))
    result = map_bag(bags["first"], path, extractor, config, stop)
    assert result.interrupted
    with PlaceMap.open(path) as place_map:
        assert len(place_map) == result.keyframes == 10


def test_loop_closures_are_written_when_asked_for(bags, first_map, checkpoint, run_folder, vpr, tmp_path):
    assert not (run_folder / "loops.txt").exists()
    call = ("localize", bags["second"], "--map", first_map, "-c", checkpoint, "--no-report", "--loops")
    accepting = ("--accept-probability", 0.02, "--set", "min_margin=0")
    result = vpr(*call, "-o", tmp_path / "run", *accepting)
    assert result.exit_code == 0, result.output
    accepted = [r for r in lines_of(tmp_path / "run" / "matches.jsonl") if r["status"] == "accepted"]
    pairs = [line.split() for line in (tmp_path / "run" / "loops.txt").read_text().splitlines() if line[0] != "#"]
    assert accepted and [p[0].replace(".", "") for p in pairs] == [str(r["stamp_ns"]) for r in accepted]
    tags = [line.split()[0] for line in (tmp_path / "run" / "loops.g2o").read_text().splitlines()]
    # 30 frames and 30 keyframes, each drive joined by its steps.
    assert tags.count("VERTEX_SE3:QUAT") == 60 and tags.count("EDGE_SE3:QUAT") == 2 * 29 + len(accepted)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["loops"]["pairs"] == len(accepted)
    assert "loops.g2o: 60 poses" in result.output
    result = vpr(*call, "-o", tmp_path / "bare", *accepting, "--odom-topic", "none")
    assert result.exit_code == 0 and "no loops.g2o" in result.output
    assert (tmp_path / "bare" / "loops.txt").exists() and not (tmp_path / "bare" / "loops.g2o").exists()


def test_help_teaches_with_examples(vpr):
    for command in ("map", "localize", "eval", "merge", "bag", "align", "calibrate", "project", "train"):
        text = vpr(command, "--help").output
        assert re.search(rf"vpr_ros {command} ", text), command
