"""A headless Chromium driven through its debugging pipe: real clicks and keys, with the standard library alone."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

BINARY = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Enter": 13}


class Chromium:
    """One page; made as a context manager. Sizes and positions are in CSS pixels."""

    def __init__(self, profile: Path, size: tuple[int, int] = (1280, 1000)):
        self.profile, self.size = profile, size

    def __enter__(self):
        (to_browser, self._out), (self._in, from_browser) = os.pipe(), os.pipe()

        def give_pipes():
            # Chromium reads commands from descriptor 3 and writes to 4; copies from above keep the two apart.
            high = [os.dup2(fd, 60 + i) for i, fd in enumerate((to_browser, from_browser))]
            for target, fd in enumerate(high, 3):
                os.dup2(fd, target)

        assert BINARY is not None
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            [
                BINARY,
                *flags,
                f"--user-data-dir={self.profile}",
                f"--window-size={self.size[0]},{self.size[1]}",
                "about:blank",
            ],
            preexec_fn=give_pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._number, self._session = b"", 0, None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=self.size[0],
            height=self.size[1],
            deviceScaleFactor=1,
            mobile=False,
        )
        return self

    def __exit__(self, *_):
        os.close(self._out)
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)

    def call(self, method: str, **parameters):
        """One command of the protocol; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                piece = os.read(self._in, 1 << 16)
                if not piece:
                    raise RuntimeError("Chromium ended")
                self._rest += piece
            line, self._rest = self._rest.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address: str) -> None:
        """Loads a page and waits until it is there."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        for _ in range(600):
            if self.run("document.readyState === 'complete' && location.protocol !== 'about:'"):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{address} does not load")

    def run(self, script: str):
        """The value of an expression on the page; of a promise, what it comes to."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """A click at a place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """A key, pressed and let go."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def dark(self, on: bool = True) -> None:
        """As a reader with dark pages sees it."""
        value = "dark" if on else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def screenshot(self) -> bytes:
        """PNG of the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
