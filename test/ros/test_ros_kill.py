"""kill -9 in the middle of mapping: the map opens, and what was reported as saved is in it."""

import random
import threading
import time

from nav_msgs.msg import Odometry, Path
from ros_drives import images_of
from ros_robot import compressed, keyframe_of, odometry, qos
from sensor_msgs.msg import CompressedImage

from vpr_ros.geometry import planar_transform
from vpr_ros.place_map import PlaceMap

KILLS = 3
SAVED = "saved up to keyframe"


def drive_on(robot, jpegs, over):
    """Images and odometry at 20 Hz until it is over."""
    camera = robot.publisher("/image/compressed", CompressedImage)
    wheels = robot.publisher("/odom", Odometry)
    i = 0
    while not over.wait(0.05):
        stamp = time.time_ns()
        wheels.publish(odometry(stamp, planar_transform(0.5 * i, 0.0, 0.0)))
        camera.publish(compressed(stamp, jpegs[i % len(jpegs)]))
        i += 1


def reported(path_messages):
    """Ids of the keyframes that ~/keyframes has told of."""
    return {keyframe_of(pose.header.frame_id) for m in list(path_messages) for pose in m.poses}


def test_killed_mappers_keep_what_they_reported(start, robot, drives, tmp_path):
    path, chance, over = tmp_path / "town.vpr", random.Random(4), threading.Event()
    driver = threading.Thread(target=drive_on, args=(robot, [jpeg for _, jpeg in images_of(drives["first"])], over))
    driver.start()
    told: set[int] = set()
    try:
        for kill in range(KILLS):
            # Another name each time: for some seconds the middleware keeps a killed node's services.
            node = start(name=f"vpr{kill}", mode="map", map_path=path, compressed=True, keyframe_every=1).up()
            heard = robot.listen(node.topic("~/keyframes"), Path, qos(100, latched=True))
            newest = max(told, default=0)
            node.until_health("map", lambda h, newest=newest: h.number(SAVED) > newest, 30)
            time.sleep(chance.uniform(0.0, 6.0))
            node.kill()
            time.sleep(0.3)  # what was on the wire
            told |= reported(heard.messages) | set(range(1, int(node.health("map").number(SAVED)) + 1))
            robot.deafen(heard)
            with PlaceMap.open(path) as place_map:
                ids = set(place_map.poses().ids.tolist())
                assert len(place_map.keyframes()) == len(ids)
            assert told <= ids, f"kill {kill}: {sorted(told - ids)} were reported and are lost"
            print(f"\nkill {kill}: {len(told)} keyframes were reported as saved, {len(ids)} are in the map")
    finally:
        over.set()
        driver.join()
    assert max(told) >= 10 * KILLS
