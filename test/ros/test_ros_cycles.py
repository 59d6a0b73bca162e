"""configure, activate, deactivate, cleanup, again and again: nothing leaks and no subscription is lost."""

import pytest
from ros_drives import images_of
from ros_robot import compressed, until_answered
from sensor_msgs.msg import CompressedImage
from vision_msgs.msg import Detection3D

SETTLED = 3  # cycles until libraries have allocated what they keep


@pytest.mark.parametrize("cycles", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_cycles(start, robot, drives, first_map, cycles):
    node = start(map_path=first_map, compressed=True)
    jpeg = images_of(drives["second"])[20][1]
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    threads, files, rss_mb = [], [], []
    for _ in range(cycles):
        node.up()
        until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))
        assert node.deactivate() and node.cleanup(), node.log
        threads.append(node.threads)
        files.append(node.files)
        rss_mb.append(node.rss_mb)
    print(
        f"\n{cycles} cycles: threads {threads[0]} -> {threads[-1]}, files {files[0]} -> {files[-1]}, memory "
        f"{rss_mb[0]:.0f}, {rss_mb[SETTLED - 1]:.0f} (cycle {SETTLED}) -> {rss_mb[-1]:.0f} MB"
    )
    assert len(set(threads[SETTLED - 1 :])) == 1, threads
    assert files[-1] <= files[SETTLED - 1], files
    assert rss_mb[-1] < rss_mb[SETTLED - 1] + 30, rss_mb
    assert node.state == "unconfigured"
