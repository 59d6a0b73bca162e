"""The node's core without ROS, with the shipped network: it answers as the offline tools do and keeps its promises."""

from dataclasses import replace

import numpy as np
import pytest
from pixel_street import PixelExtractor, panorama
from pixel_street import observations as pixel_frames
from street import SECOND_NS, START_NS, STEP_M, drive_images

from vpr_ros.configuration import DecisionConfig, GateConfig, RecognitionConfig
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.geometry import invert, make_transform, planar_transform
from vpr_ros.observation import Observation
from vpr_ros.place_map import PlaceMap, merge
from vpr_ros.recognition import Calibration
from vpr_ros.runtime.answer import place_covariance
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.opening import DriveFacts
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.cameras import Camera
from vpr_ros.verification import Verified

T_BASE_CAMERA = make_transform([1.5, 0.0, 1.2], [-0.5, 0.5, -0.5, 0.5])


def camera_of(hfov_deg: float) -> Camera:
    """A camera of the street's pictures that sees so wide."""
    height, width = drive_images(1, 1, 0)[0].shape[:2]
    f = width / 2 / np.tan(np.radians(hfov_deg) / 2)
    return Camera(np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]]), width, height, np.zeros(0))


def opened(path, **changes) -> Pipeline:
    # No budget: answers must not depend on how busy the machine is.
    return Pipeline.open(PipelineConfig(map_path=path, **{"local_budget_s": 0.0, **changes}), Health())


def observations(frames=20, noise=0, start_ns=START_NS, poses=True):
    return [
        Observation(start_ns + i * SECOND_NS // 2, image, planar_transform(STEP_M * i, 0, 0) if poses else None)
        for i, image in enumerate(drive_images(1, frames, noise))
    ]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "town.vpr"
    pipeline = opened(path, mode="map", session="first")
    for observation in observations():
        pipeline.process(replace(observation, T_base_camera=T_BASE_CAMERA, camera=camera_of(80.0)))
    pipeline.close()
    return path


def test_a_drive_becomes_a_map_with_its_camera(town):
    with PlaceMap.open(town) as place_map:
        assert len(place_map) == 20 and [s.name for s in place_map.sessions()] == ["first"]
        camera = place_map.cameras[1]
        assert np.allclose(camera.T_base_camera, T_BASE_CAMERA) and camera.hfov_deg == pytest.approx(80.0)
        poses, keyframes = place_map.poses(), place_map.keyframes()
        assert np.array_equal(poses.ids, keyframes.ids) and np.array_equal(poses.stamps_ns, keyframes.stamps_ns)
        assert np.allclose(poses.T_map_base, keyframes.T_map_base)
        assert place_map.poses(after=17).ids.tolist() == [18, 19, 20]


def test_merged_maps_keep_the_cameras_of_their_sessions(town, tmp_path):
    other = opened(tmp_path / "other.vpr", mode="map")
    other.process(replace(observations(1)[0], camera=camera_of(50.0)))
    other.close()
    merge(tmp_path / "both.vpr", [town, tmp_path / "other.vpr"])
    with PlaceMap.open(tmp_path / "both.vpr") as both:
        assert {i: camera.hfov_deg for i, camera in both.cameras.items()} == pytest.approx({1: 80, 2: 50})


def test_an_accepted_place_gives_the_pose_from_which_this_camera_stands_where_the_maps_stood(town):
    decision = DecisionConfig(accept_probability=0.05, min_margin=0.0, unknown_probability=0.99)
    pipeline = opened(town, recognition=RecognitionConfig(decision=decision))
    turned = make_transform([0.5, 0.2, 1.0], [-0.5, 0.5, -0.5, 0.5])
    accepted = []
    for observation in observations(noise=5, start_ns=START_NS + 10**13):
        answer = pipeline.process(observation)
        match = answer.recognition.match
        if match is None:
            assert pipeline.T_map_query(answer) is None
            continue
        accepted.append(answer)
        T, covariance = pipeline.T_map_query(answer)
        assert np.allclose(T, match.T_map_base) and np.allclose(covariance, place_covariance(10.0))
        asked = replace(answer, observation=replace(observation, T_base_camera=turned))
        T, _ = pipeline.T_map_query(asked)
        assert np.allclose(T @ turned, match.T_map_base @ T_BASE_CAMERA)
    assert accepted
    answer = accepted[-1]
    T_keyframe_query = planar_transform(0.5, -0.2, 0.1)
    spread = np.diag([0.01, 0.04, 0.09, 0.001, 0.002, 0.003])
    answer = type(answer)(
        replace(answer.observation, T_base_camera=turned),
        answer.recognition,
        verified=Verified(True, "registered", "lidar", T_keyframe_query, spread, 0.9, 0.1),
    )
    T, covariance = pipeline.T_map_query(answer)
    T_keyframe = answer.recognition.match.T_map_base
    assert np.allclose(invert(T_keyframe) @ T, T_keyframe_query)
    assert np.linalg.eigvalsh(covariance) == pytest.approx(np.sort(np.diag(spread)))
    pipeline.close()


def test_slam_mode_pauses_and_begins_new_drives(tmp_path):
    pipeline = opened(tmp_path / "new.vpr", mode="slam", session="walk")
    frames = observations(12)
    assert pipeline.recogniser is None and pipeline.session is None
    assert [pipeline.process(o).keyframe_id for o in frames[:3]] == [1, 2, 3]
    assert "no frame becomes" in pipeline.set_mapping(False) and not pipeline.mapping
    assert pipeline.process(frames[3]).reason == "mapping is paused"
    pipeline.set_mapping(True)
    assert pipeline.process(frames[4]).keyframe_id == 4 and pipeline.session == 1
    assert "new session" in pipeline.clear_session()
    assert pipeline.process(frames[5]).keyframe_id == 5 and pipeline.session == 2
    assert "5 keyframes are saved" in pipeline.save() and pipeline.saved == 5
    with pytest.raises(FrameError):
        pipeline.process(frames[5])
    assert pipeline.keyframe_count == 5
    names = [s.name for s in pipeline.place_map.sessions()]
    pipeline.close()
    assert names == ["walk", "walk (2)"]


def test_a_map_without_poses_counts_places_in_frames(tmp_path):
    pipeline = opened(tmp_path / "blind.vpr", mode="map", gate=GateConfig(every_n=1))
    for observation in observations(3, poses=False):
        pipeline.process(observation)
    assert pipeline.place_map.place_radius_m == 2.0 and pipeline.keyframe_count == 3
    pipeline.close()


def pixels(path, mode, **changes):
    return Pipeline.open(PipelineConfig(map_path=path, mode=mode, **changes), Health(), PixelExtractor())


def test_a_batch_gives_the_answers_of_single_frames(tmp_path):
    path, wall = tmp_path / "wall.vpr", panorama(0)
    with pixels(path, "map", gate=GateConfig(distance_m=1.0)) as pipeline:
        for o in pixel_frames(wall, np.arange(0, 200, 0.5)):
            pipeline.process(o)
    queries = list(pixel_frames(wall, np.arange(20, 180, 0.5), light=0.6, start_ns=10**12, noise=8, seed=1))
    with pixels(path, "localize") as single, pixels(path, "localize") as batched:
        alone = [single.process(o) for o in queries]
        again = [a for i in range(0, len(queries), 7) for a in batched.process_batch(queries[i : i + 7])]
    expected = [MatchRecord.from_recognition(a.recognition) for a in alone]
    assert [MatchRecord.from_recognition(a.recognition) for a in again] == expected


def test_unusable_frames_are_skipped_one_by_one(tmp_path):
    path, wall = tmp_path / "wall.vpr", panorama(3)
    frames = list(pixel_frames(wall, np.arange(0, 20, 1.0)))
    frames[4] = Observation(frames[4].stamp_ns, np.zeros((60, 80, 3), np.uint8), frames[4].T_odom_base)
    frames[7] = Observation(frames[7].stamp_ns, frames[7].image, np.full((4, 4), np.nan))
    with pixels(path, "map", gate=GateConfig(every_n=1)) as mapping:
        results = list(mapping.process_batch(frames))
        assert [i for i, r in enumerate(results) if isinstance(r, FrameError)] == [4]
        assert mapping.keyframe_count == 19 and np.isnan(mapping.place_map.keyframes().T_odom_base[6]).all()
        with pytest.raises(FrameError):
            mapping.process(frames[4])
    with pixels(path, "localize") as localising:
        answers = list(localising.process_batch(frames))
    assert [i for i, r in enumerate(answers) if isinstance(r, FrameError)] == [4]


def test_what_is_known_of_a_drive_goes_into_its_new_map(tmp_path):
    config, datum = PipelineConfig(map_path=tmp_path / "known.vpr", mode="map"), (48.0, 9.0, 400.0)
    with Pipeline.open(config, Health(), PixelExtractor(), DriveFacts(datum, has_poses=True)) as pipeline:
        first = next(pixel_frames(panorama(1), [0.0], odometry=False))
        pipeline.process(first)  # the drive has poses, though its first frame has none
        assert pipeline.place_map.place_radius_m == 10.0 and pipeline.place_map.datum == datum
    config = PipelineConfig(map_path=tmp_path / "blind.vpr", mode="map")
    with Pipeline.open(config, Health(), PixelExtractor(), DriveFacts(has_poses=False)) as pipeline:
        assert pipeline.place_map.place_radius_m == 2.0


def test_a_new_map_that_stays_empty_leaves_no_file(tmp_path):
    opened(tmp_path / "none.vpr", mode="map").close()
    assert list(tmp_path.iterdir()) == []


def test_thresholds_change_while_running(town):
    pipeline = opened(town)
    pipeline.set_decision(DecisionConfig(accept_probability=0.0, min_margin=0.0, unknown_probability=1.0))
    answers = [pipeline.process(o) for o in observations(noise=5, start_ns=START_NS + 10**13)]
    assert all(a.recognition.reason in ("accepted", "unsupported") for a in answers)
    assert any(a.recognition.match for a in answers)
    before = pipeline.config.recognition.decision
    pipeline.set_decision(DecisionConfig(accept_precision=0.99))
    assert all(0.9 < p < 1 for p in pipeline.recogniser.accept_probabilities), "the checkpoint's own thresholds"
    pipeline.set_decision(before)
    pipeline.recogniser.weighing = Calibration.default()
    with pytest.raises(VprError, match="vpr_ros calibrate"):  # nothing is known of any precision here
        pipeline.set_decision(DecisionConfig(accept_precision=0.99))
    assert pipeline.config.recognition.decision == before and pipeline.recogniser.accept_probabilities == (0.0, 0.0)
    pipeline.close()


def test_a_single_picture_is_answered_by_itself_and_the_drive_goes_on_undisturbed(town, tmp_path):
    frames = observations(noise=5, start_ns=START_NS + 10**13)
    decision = DecisionConfig(accept_probability=0.5, min_consistent_frames=4)
    recognition = RecognitionConfig(decision=decision)
    plain, asked = opened(town, recognition=recognition), opened(town, recognition=recognition)
    for i, frame in enumerate(frames):
        expected = plain.process(frame).recognition
        single = asked.ask(Observation(7, frames[-1 - i].image))
        # As the first frame of a run of its own that needs no second one.
        lone = opened(town, recognition=replace(recognition, decision=replace(decision, min_consistent_frames=1)))
        alone = lone.process(Observation(7, frames[-1 - i].image)).recognition
        assert MatchRecord.from_recognition(single) == MatchRecord.from_recognition(alone)
        lone.close()
        assert MatchRecord.from_recognition(asked.process(frame).recognition) == MatchRecord.from_recognition(expected)
    with pytest.raises(FrameError):
        asked.ask(Observation(8, np.zeros((0, 0, 3), np.uint8)))
    mapper = opened(tmp_path / "new.vpr", mode="slam")
    with pytest.raises(VprError, match="single pictures are for mode 'localize'"):
        mapper.ask(frames[0])
    for pipeline in (plain, asked, mapper):
        pipeline.close()


def test_refusals_are_sentences(town, tmp_path):
    with pytest.raises(VprError, match="map_path is empty"):
        Pipeline.open(PipelineConfig(), Health())
    with pytest.raises(VprError, match="missing.vpr"):
        opened(tmp_path / "missing.vpr")
    (tmp_path / "text.vpr").write_text("not a map")
    with pytest.raises(VprError, match="text.vpr"):
        opened(tmp_path / "text.vpr")
    pipeline = opened(town)
    for refused in (pipeline.save, lambda: pipeline.set_mapping(True)):
        with pytest.raises(VprError, match="only reads the map"):
            refused()
    assert "initial_pose" in pipeline.relocalize() and pipeline.clear_session()
    pipeline.close()
    pipeline = opened(tmp_path / "m.vpr", mode="map")
    with pytest.raises(VprError, match="recognises nothing"):
        pipeline.relocalize()
    pipeline.close()
