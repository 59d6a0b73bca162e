"""/diagnostics of the vpr node: one task per stage, each naming what starves and what to do about it."""

from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_updater import Updater
from rclpy.clock import Clock, ClockType

from vpr_ros.runtime.health import Health

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
DROPPED_TOO_MANY = 0.2  # share of the images of the last period from which the machine is called too slow
NEWS_S = 10.0  # how long a sentence about a bad message stays the headline
WIDER = 1.2  # ratio of fields of view from which two cameras see places differently


class Diagnostics:
    """Reads the node's parts once a second; never touches the network or the map's file."""

    stages: tuple[str, ...] = ("input", "inference", "index", "decision", "map")

    def __init__(self, node: Any, health: Health):
        self._node, self._health = node, health
        self._received = self._dropped = 0
        self.updater = Updater(node)
        # The updater's own timer stands still with simulated time: just when a bag is over and nothing comes any more.
        self.updater.timer.cancel()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(self.updater.period, self.updater.force_update, clock=steady)
        self.updater.setHardwareID(node.get_fully_qualified_name())  # tells the robots of several namespaces apart
        for stage in self.stages:
            self.updater.add(stage, getattr(self, f"_{stage}"))

    def _input(self, status):
        node, health = self._node, self._health
        if not node.active:
            status.summary(OK, "not active: the node listens to nothing")
            return status
        age, limit = health.age_s("image"), node.get_parameter("image_timeout_s").value
        problems = node.inputs.problems()
        silent = node.active_for_s if age is None else min(age, node.active_for_s)
        if silent > limit:
            status.summary(ERROR, "; ".join([f"no image for {silent:.0f} s", *problems]))
        elif problems:
            status.summary(WARN, "; ".join(problems))
        elif news := health.newest("input", NEWS_S):
            status.summary(WARN, news)
        else:
            status.summary(OK, f"{health.rate_hz('image'):.1f} images/s")
        for what in ("image", "odom", "points"):
            status.add(f"{what} rate (Hz)", f"{health.rate_hz(what):.1f}")
        status.add("last image (s ago)", "never" if age is None else f"{age:.1f}")
        status.add("received", str(node.inputs.received))
        status.add("dropped (newer came first)", str(node.inputs.dropped))
        return with_counts(status, health, "input")

    def _inference(self, status):
        node, health = self._node, self._health
        timing, total = health.timing("inference"), health.timing("total")
        received, dropped = node.inputs.received if node.inputs else 0, node.inputs.dropped if node.inputs else 0
        came, lost = received - self._received, dropped - self._dropped
        self._received, self._dropped = received, dropped
        if news := health.newest("inference", NEWS_S):
            status.summary(ERROR, news)
        elif timing is None or total is None:
            status.summary(OK, "no image described yet")
        else:
            times = f"p50 {1e3 * total.p50_s:.0f} ms, p95 {1e3 * total.p95_s:.0f} ms an image"
            if came > 0 and lost > DROPPED_TOO_MANY * came and not node.get_parameter("rate_limit_hz").value:
                status.summary(
                    WARN,
                    f"too slow: {times} for {health.rate_hz('image'):.0f} images/s; the newest are "
                    f"answered, {100 * lost / came:.0f} % dropped",
                )
            else:
                status.summary(OK, times)
        for name in ("inference", "search", "verification", "total"):
            if t := health.timing(name):
                status.add(f"{name} p50/p95 (ms)", f"{1e3 * t.p50_s:.1f} / {1e3 * t.p95_s:.1f}")
        if node.pipeline is not None:
            status.add("checkpoint", node.pipeline.extractor.name)
            status.add("fingerprint", node.pipeline.extractor.fingerprint[:12])
            status.add("device", f"{node.pipeline.extractor.device} {node.pipeline.extractor.precision}")
        return with_counts(status, health, "inference")

    def _index(self, status):
        pipeline = self._node.pipeline
        if pipeline is None or pipeline.recogniser is None:
            reason = "mode map searches nothing" if pipeline and pipeline.mode == "map" else "no map is searched yet"
            status.summary(OK, reason)
            return status
        size, timing = len(pipeline.recogniser), self._health.timing("search")
        status.summary(WARN if size == 0 else OK, f"{size} keyframes are searched")
        if timing is not None:
            status.add("search p50/p95 (ms)", f"{1e3 * timing.p50_s:.2f} / {1e3 * timing.p95_s:.2f}")
        status.add("place radius", f"{pipeline.recogniser.topology.radius:g}")
        return status

    def _decision(self, status):
        pipeline, recent = self._node.pipeline, self._health.recent("decision")
        if pipeline is None or pipeline.mode == "map" or not recent:
            status.summary(OK, "nothing to decide yet" if pipeline is None or pipeline.mode != "map" else "mode map")
        elif recent["accepted"]:
            status.summary(OK, f"{recent['accepted']} of the last {sum(recent.values())} answers accepted")
        else:
            reasons = ", ".join(f"{n} {reason}" for reason, n in recent.most_common())
            status.summary(WARN, f"no place accepted in the last {sum(recent.values())} answers: {reasons}")
        if pipeline is not None and pipeline.calibration:
            status.add("probabilities from", pipeline.calibration)
        if news := self._health.newest("decision"):
            status.add("last note", news)
        for reason, n in self._health.counts("verification").items():
            status.add(f"verification: {reason}", str(n))
        return with_counts(status, self._health, "decision")

    def _map(self, status):
        node, pipeline = self._node, self._node.pipeline
        if pipeline is None:
            status.summary(ERROR if node.last_error else WARN, node.last_error or "no map: the node is not configured")
            return status
        place_map, wrong_lens = pipeline.place_map, self._other_lens()
        if news := self._health.newest("map", NEWS_S):
            status.summary(ERROR, news)
        elif wrong_lens:
            status.summary(WARN, wrong_lens)
        elif pipeline.mode != "localize" and not pipeline.mapping:
            status.summary(WARN, "mapping is switched off")
        else:
            status.summary(OK, f"{pipeline.keyframe_count} keyframes")
        status.add("path", str(place_map.path))
        status.add("mode", pipeline.mode)
        status.add("map id", place_map.map_id)
        status.add("version", str(place_map.version))
        status.add("frame", place_map.frame_id)
        status.add("keyframes", str(pipeline.keyframe_count))
        if pipeline.mode != "localize":
            status.add("saved up to keyframe", str(place_map.saved_up_to()))
            status.add("session", str(pipeline.session or "not begun"))
        return with_counts(status, self._health, "map")

    def _other_lens(self) -> str:
        """A sentence where this camera sees much wider or narrower than the one that mapped."""
        pipeline, camera = self._node.pipeline, self._node.camera
        if pipeline.mode == "map" or camera is None or camera.hfov_deg is None:
            return ""
        mapped = [m.hfov_deg for m in pipeline.place_map.cameras.values() if m.hfov_deg]
        if not mapped or any(max(h, camera.hfov_deg) <= WIDER * min(h, camera.hfov_deg) for h in mapped):
            return ""
        return (
            f"this camera sees {camera.hfov_deg:.0f} degrees and the map's saw {mapped[-1]:.0f}: places look "
            "different, expect fewer matches"
        )


def with_counts(status, health: Health, task: str):
    for event, n in sorted(health.counts(task).items()):
        status.add(event, str(n))
    return status
