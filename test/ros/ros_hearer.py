"""Inputs on a node of their own, for tests of what arrives."""

import threading
import time

from ros_robot import Robot

from vpr_ros.errors import FrameError
from vpr_ros.nodes.inputs.inputs import Inputs
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.input_settings import InputSettings


class Hearer:
    """Inputs on a node of their own, with a worker that observes every image."""

    def __init__(self, settings: InputSettings, start: bool = True):
        self.robot, self.health = Robot("hearer"), Health()
        self.inputs = Inputs(self.robot.node, settings, self.health)
        self.observations, self.errors, self.waits_s = [], [], []
        self.taken, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._work)
        if start:
            self.start()

    def start(self):
        self.inputs.start()
        self._thread.start()

    def _work(self):
        while not self._stop.is_set():
            msg = self.inputs.next(0.05)
            if msg is None:
                continue
            self.taken += 1
            begin = time.monotonic()
            try:
                self.observations.append(self.inputs.observe(msg))
            except FrameError as error:
                self.errors.append(str(error))
            self.waits_s.append(time.monotonic() - begin)

    @property
    def seen(self):
        return len(self.waits_s)

    def taken_up(self, sent: int) -> bool:
        """Whether so many images have come and none waits to be taken."""
        return self.inputs.received == sent and self.inputs._mailbox._item is None

    def settled(self, sent: int) -> bool:
        """Whether so many images have come and of each it is decided what became of it."""
        return self.taken_up(sent) and self.seen == self.taken

    def counts(self):
        return self.health.counts("input")

    def close(self):
        self._stop.set()
        self.inputs.stop()
        if self._thread.is_alive():
            self._thread.join(5)
        self.robot.close()
