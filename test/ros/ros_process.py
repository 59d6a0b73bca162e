"""Real processes: the vpr node, `ros2 launch` and `ros2 bag play`, started, watched and ended as people do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from ros_robot import Heard, Robot, wait_until

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A program in a process group of its own, with its output in a file."""

    def __init__(self, command: list, log: Path):
        self.log_path = log
        environment = dict(
            os.environ,
            PYTHONUNBUFFERED="1",
            PYTHONFAULTHANDLER="1",
            OMP_NUM_THREADS="1",
            ROS_LOG_DIR=str(log.parent / "ros"),
        )
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout_s: float = 30.0) -> int:
        """The exit status."""
        return self.process.wait(timeout_s)

    def interrupt(self, timeout_s: float = 20.0) -> tuple[float, int]:
        """Ctrl-C as a terminal sends it, to the whole group: seconds until the end, and the exit status."""
        started = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(timeout_s)
        return time.monotonic() - started, status

    def kill(self) -> None:
        """kill -9, with all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(10)

    # What the kernel knows of it (Linux)

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise KeyError(key)

    @property
    def rss_mb(self) -> float:
        return self._status("VmRSS") / 1024

    @property
    def threads(self) -> int:
        return self._status("Threads")

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class VprNode(Process):
    """The node `vpr` with parameters from a file, as `ros2 run vpr_ros vpr_node --ros-args ...` starts it."""

    def __init__(
        self,
        robot: Robot,
        diagnostics: Heard,
        folder: Path,
        name: str = "vpr",
        namespace: str = "",
        remaps: dict[str, str] | None = None,
        **parameters: Any,
    ):
        self.robot, self._diagnostics = robot, diagnostics
        self.namespace, self.base_name = namespace.strip("/"), name
        self.name = f"/{self.namespace}/{name}" if self.namespace else f"/{name}"
        label = self.name.strip("/").replace("/", "_")
        file = folder / f"{label}.yaml"
        # No budget of time: answers must not depend on how busy the machine is.
        values = {"threads": 1, "local_budget_s": 0.0, **parameters}
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}), encoding="utf-8")
        rules = {"__node": name, **({"__ns": f"/{self.namespace}"} if self.namespace else {}), **(remaps or {})}
        start = "import sys; from vpr_ros.nodes.main import vpr_node; sys.exit(vpr_node())"
        command = [sys.executable, "-c", start, "--ros-args", "--params-file", file]
        for source, target in rules.items():
            command += ["-r", f"{source}:={target}"]
        super().__init__(command, folder / f"{label}.log")

    def topic(self, name: str) -> str:
        """`~/matches` and `image` by their full names."""
        return name.replace("~", self.name) if name.startswith("~") else f"/{self.namespace}/{name}".replace("//", "/")

    # Life

    def _change(self, transition: str) -> bool:
        try:
            return self.robot.change(self.name, transition)
        except AssertionError as error:
            self.process.send_signal(signal.SIGABRT)  # Python's fault handler writes where each thread stands
            self.process.wait(10)
            raise AssertionError(f"{error}\n{self.log}") from None

    def configure(self) -> bool:
        return self._change("configure")

    def activate(self) -> bool:
        return self._change("activate")

    def deactivate(self) -> bool:
        return self._change("deactivate")

    def cleanup(self) -> bool:
        return self._change("cleanup")

    def up(self) -> "VprNode":
        """The node, answering images."""
        assert self.configure(), self.log
        assert self.activate(), self.log
        return self

    @property
    def state(self) -> str:
        return self.robot.state(self.name)

    # Parameters and diagnostics

    def set(self, **values: Any) -> list[str]:
        """Reasons of refusal, empty strings where a value was taken."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        answer = self.robot.call(SetParameters, f"{self.name}/set_parameters", request)
        return ["" if r.successful else r.reason or "refused" for r in answer.results]

    def get(self, *names: str) -> list:
        request = GetParameters.Request(names=list(names))
        return list(self.robot.call(GetParameters, f"{self.name}/get_parameters", request).values)

    def health(self, task: str) -> "Health | None":
        """The newest diagnostics of one stage; None before the first."""
        for array in reversed(self._diagnostics.messages):
            for status in array.status:
                owner, _, of = status.name.rpartition(":")
                if of.strip() == task and owner.strip().strip("/") in (self.name.strip("/"), self.base_name):
                    if not self.namespace or self.namespace in status.name or self.namespace in status.hardware_id:
                        return Health(status)
        return None

    def until_health(self, task: str, condition, timeout_s: float = 15.0) -> "Health":
        """The diagnostics of a stage as soon as the condition holds for them."""

        def now():
            health = self.health(task)
            return health if health is not None and condition(health) else None

        try:
            return wait_until(now, timeout_s)
        except AssertionError:
            raise AssertionError(f"diagnostics of '{task}' never got there: {self.health(task)}\n{self.log}") from None


class Health:
    """One status of /diagnostics: `level` 0 to 3, the `message`, and numbers by key."""

    def __init__(self, status):
        self.level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
        self.message, self.name = status.message, status.name
        self.values = {pair.key: pair.value for pair in status.values}

    @property
    def text(self) -> str:
        return "\n".join([self.message, *(f"{key}: {value}" for key, value in self.values.items())])

    def number(self, key: str) -> float:
        """0 for a count that has not happened."""
        return float(self.values.get(key, "0").split()[0])

    def __repr__(self) -> str:
        return f"{self.name} level {self.level}: {self.text}"


def ament_prefix(folder: Path) -> Path:
    """An installation of this source tree as `ros2 launch` and `ros2 run` look for it; add it to AMENT_PREFIX_PATH."""
    share, programs = folder / "share" / "vpr_ros", folder / "lib" / "vpr_ros"
    index = folder / "share" / "ament_index" / "resource_index" / "packages"
    for path in (share / "launch", share / "config", programs, index):
        path.mkdir(parents=True)
    (index / "vpr_ros").touch()
    for file in [ROOT / "package.xml", *(ROOT / "launch").glob("*.py"), *(ROOT / "config").glob("*.*")]:
        (share / file.relative_to(ROOT)).symlink_to(file)
    for name in ("vpr_node", "recorder"):
        program = programs / name
        lines = f"#!{sys.executable}", "import sys", f"from vpr_ros.nodes.main import {name}", f"sys.exit({name}())"
        program.write_text("\n".join(lines) + "\n")
        program.chmod(0o755)
    return folder


def play(bag: Path, log: Path, *options: str, rate: float = 1.0) -> Process:
    """`ros2 bag play` without a keyboard."""
    return Process(["ros2", "bag", "play", bag, "--rate", rate, "--disable-keyboard-controls", *options], log)
