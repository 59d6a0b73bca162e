"""Stages that overlap: the answers are those of one frame after the other, and a stage's end is everybody's end."""

import itertools
import signal
import threading
from contextlib import closing

import numpy as np
import pytest
from pixel_street import PixelExtractor, observations, panorama
from street import drive_images, write_drive

from vpr_ros.configuration import GateConfig
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.matches import MatchRecord, match_writer
from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag
from vpr_ros.offline.map_bag import MapBagConfig, map_bag
from vpr_ros.offline.stages import FRAMES_AHEAD, ahead, answered, batches
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors import Drive, DriveTopics

GATE = GateConfig(every_n=2)
FURTHEST = 3 * FRAMES_AHEAD + 3  # frames that are read beyond the one that is answered: a queue's, and one in each hand


@pytest.fixture(autouse=True)
def ends():
    """A minute at most, and no thread is left."""

    def late(*_):
        raise TimeoutError("the stages hang")

    before = {
        signal.SIGALRM: signal.signal(signal.SIGALRM, late),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's background jobs ignore it
    }
    running = threading.active_count()
    signal.alarm(60)
    yield
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)
    assert threading.active_count() == running


@pytest.fixture
def bag(tmp_path):
    images = drive_images(1, 30)
    images[7] = np.full_like(images[7], 128)  # shows nothing: PixelExtractor refuses it
    return write_drive(tmp_path / "first", images)


def opened(path, mode="map"):
    config = PipelineConfig(map_path=path, mode=mode, gate=GATE, local_features="sift", session="first")
    return Pipeline.open(config, Health(), PixelExtractor())


def content(path):
    """All rows of a map but for when it was made, and its name."""
    with PlaceMap.open(path) as place_map, place_map.reading() as db:
        tables = ("keyframes", "descriptors", "thumbnails", "features", "checksums")
        rows = {table: db.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in tables}
        return rows | {"sessions": db.execute("SELECT id, name, total, frames FROM sessions").fetchall()}


@pytest.mark.parametrize("batch", [1, 3])
def test_a_map_has_the_bytes_of_one_frame_after_the_other(bag, tmp_path, batch):
    config = MapBagConfig(gate=GATE, local_features="sift", batch_size=batch)
    result = map_bag(bag, tmp_path / "stages.vpr", PixelExtractor(), config)
    unusable = 0
    with Drive(bag, DriveTopics(), config.drive, load_depth=True) as drive, opened(tmp_path / "naive.vpr") as pipeline:
        for observation in drive:
            try:
                pipeline.process(observation)
            except FrameError:
                unusable += 1
    assert result.frames == 30 and result.skipped == {"frame unusable": unusable} == {"frame unusable": 1}
    made = content(tmp_path / "stages.vpr")
    assert made == content(tmp_path / "naive.vpr") and len(made["features"]) == result.keyframes == 15


def test_a_run_has_the_bytes_of_one_frame_after_the_other(bag, tmp_path):
    path, topics = tmp_path / "town.vpr", DriveTopics(pose="none")
    map_bag(bag, path, PixelExtractor(), MapBagConfig(gate=GATE, local_features="none"))
    config = LocalizeBagConfig(local_features="none")
    assert localize_bag(bag, path, tmp_path / "run", PixelExtractor(), config).frames == 29
    naive = PipelineConfig(map_path=path, local_features="none", local_budget_s=0.0)
    with (
        Drive(bag, topics) as drive,
        Pipeline.open(naive, Health(), PixelExtractor()) as pipeline,
        match_writer(tmp_path / "naive.jsonl") as writer,
    ):
        for observation in drive:
            for answer in pipeline.process_batch([observation]):
                if not isinstance(answer, FrameError):
                    writer.write(MatchRecord.from_recognition(answer.recognition))
    assert (tmp_path / "run" / "matches.jsonl").read_bytes() == (tmp_path / "naive.jsonl").read_bytes()


class Endless:
    """A drive without end that does something at one of its frames."""

    def __init__(self, at=-1, act=None):
        self.read, self.at, self.act = 0, at, act
        self.frame = next(observations(panorama(3), [1.0]))

    def __iter__(self):
        for self.read in itertools.count(1):
            if self.read == self.at:
                self.act()
            yield self.frame


def fail(text):
    def act(*_):
        raise VprError(text)

    return act


def test_an_error_of_reading_is_raised_after_the_answers_before_it(tmp_path):
    drive, got = Endless(10, fail("the disk is gone")), []
    with (
        opened(tmp_path / "m.vpr") as pipeline,
        pytest.raises(VprError, match="^the disk is gone$"),
        answered(pipeline, drive, 1) as answers,
    ):
        got.extend(answers)
        pytest.fail("the error was lost")
    with opened(tmp_path / "n.vpr") as pipeline, answered(pipeline, Endless(10, fail("")), 1) as answers:
        assert len(list(itertools.islice(answers, 9))) == 9


@pytest.mark.parametrize("stage", ["describe", "answer"])
def test_an_error_of_the_network_and_of_writing_ends_the_reading(tmp_path, stage):
    drive = Endless()
    with opened(tmp_path / "m.vpr") as pipeline, pytest.raises(VprError, match=f"^no {stage}$"):
        with answered(pipeline, drive, 2) as answers:
            next(answers)
            owner = pipeline.extractor if stage == "describe" else pipeline
            setattr(owner, {"describe": "describe", "answer": "_answer"}[stage], fail(f"no {stage}"))
            for _ in answers:
                pass
        pytest.fail("the error was lost")
    read = drive.read
    assert read <= 2 + FURTHEST and drive.read == read


@pytest.mark.parametrize("where", ["while reading", "while answering"])
def test_an_interrupt_ends_all_stages_at_once(tmp_path, where):
    def interrupt():
        signal.raise_signal(signal.SIGINT)

    drive, answers_given = Endless(20 if where == "while reading" else -1, interrupt), 0
    with opened(tmp_path / "m.vpr") as pipeline, pytest.raises(KeyboardInterrupt):
        with answered(pipeline, drive, 1) as answers:
            for _ in answers:
                answers_given += 1
                if where == "while answering" and answers_given == 5:
                    interrupt()
    assert answers_given <= 20 and drive.read <= 20 + FURTHEST


def test_an_interrupted_map_keeps_what_was_answered(bag, tmp_path):
    def progress(done, _):
        if done == 12:
            signal.raise_signal(signal.SIGINT)

    config = MapBagConfig(gate=GATE, local_features="none")
    result = map_bag(bag, tmp_path / "m.vpr", PixelExtractor(), config, progress)
    assert result.interrupted and result.frames == 12
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        assert len(place_map) == result.keyframes == 6


def test_who_is_ahead_waits_for_who_takes():
    made = []

    def count():
        for i in range(100):
            made.append(i)
            yield i

    with ahead(count(), 3) as items:
        assert list(itertools.islice(items, 10)) == list(range(10))
    assert 10 <= len(made) <= 14


def test_batches_are_in_order_and_the_last_is_shorter():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    with closing(iter(batches(itertools.count(), 2))) as endless:
        assert next(endless) == [0, 1]
