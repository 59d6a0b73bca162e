"""Checks of single arguments of a launch file; each refusal is one sentence (VprError)."""

from pathlib import Path

from vpr_ros.errors import VprError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LEVELS = ("debug", "info", "warn", "error", "fatal")


def truth_value(name: str, text: str) -> bool:
    """A yes or no as people type it."""
    if text.strip().lower() in _TRUE + _FALSE:
        return text.strip().lower() in _TRUE
    raise VprError(f"{name}:={text} is neither true nor false")


def one_of(name: str, text: str, words: tuple[str, ...]) -> str:
    """A word that stands in a list."""
    if text.strip() in words:
        return text.strip()
    raise VprError(f"{name}:={text} is not known; choose one of {', '.join(words)}")


def log_arguments(level: str, namespace: str, node: str) -> list[str]:
    """ROS arguments that set the level of one node's logger; the middleware's own loggers stay as they are."""
    if not level:
        return []
    if level.lower() not in _LEVELS:
        raise VprError(f"log_level:={level} is not known; choose one of {', '.join(_LEVELS)}")
    logger = ".".join([*(part for part in namespace.split("/") if part), node])
    return ["--log-level", f"{logger}:={level.lower()}"]


def existing_path(name: str, text: str) -> Path:
    """A path at which something is."""
    path = Path(text).expanduser()
    if not path.exists():
        raise VprError(f"{name}:={text} does not exist; check the path")
    return path


def target_path(name: str, text: str, must_exist: bool) -> str:
    """The absolute path of a map or folder that may be made, in a folder that exists."""
    path = Path(text).expanduser().absolute()
    if must_exist and not path.exists():
        raise VprError(f"{name}:={text} does not exist; make a map with map.launch.py, or check the path")
    if not path.parent.is_dir():
        raise VprError(f"the folder of {name}:={text} does not exist; make it first")
    return str(path)


def playing_rate(text: str) -> float:
    """The speed of a bag: 1 is as recorded."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.0 < rate < 1e3:
        raise VprError(f"rate:={text} is not a speed; 1.0 plays the bag as fast as it was recorded")
    return rate
