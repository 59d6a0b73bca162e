"""Calls of the command line in processes of their own that are killed at a known moment."""

import os
import signal
import time


def killed_at(frames: int, *arguments) -> None:
    """Run the command in a forked process and kill it with SIGKILL when its progress has come to `frames`."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            _run_until(frames, write_end, arguments)
        finally:
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        said = stream.read(1)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert said and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "it ended before it was killed"


def _run_until(frames: int, write_end: int, arguments) -> None:
    from command_line import run

    from vpr_ros.cli.console import Progress

    def wait(_self, done: int, *_total: int) -> None:
        if done >= frames:
            os.write(write_end, b"x")
            time.sleep(600)

    Progress.__call__ = wait
    result = run(*arguments)
    print(result.output)
