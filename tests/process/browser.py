"""A real headless Chromium for tests of pages, spoken to over a pipe in the protocol of its developer tools.

Not a general client: it opens one page, runs expressions in it, moves its pointer, and keeps everything that the page complained
about or asked the network for.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Self

import pytest

from process.support import PATIENCE

PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser: Final = pytest.mark.skipif(
    PROGRAM is None, reason="there is no chromium on PATH; Debian's package chromium has it"
)

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # its own sandbox refuses to run as root, and in most containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-crash-reporter",
    "--disable-breakpad",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-zygote",
    "--remote-debugging-pipe",
    "--window-size=1400,900",
)


class Browser:
    """A browser with one page; a context manager. Its processes are gone at the end.

    Attributes:
        complaints: exceptions, failed loads and console messages of every kind, in words.
        requests: addresses that the page asked for, itself not counted.
    """

    def __init__(self, directory: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._directory = directory
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._events: list[str] = []

    def __enter__(self) -> Self:
        their_input, self._input = _high_pipe()
        self._output, their_output = _high_pipe()
        assert PROGRAM is not None
        # The numbers 3 and 4 are the protocol's; a shell puts the descriptors there.
        script = f'exec "$0" "$@" 3</dev/fd/{their_input} 4>/dev/fd/{their_output}'
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", script, PROGRAM, *_FLAGS, f"--user-data-dir={self._directory}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._directory)},
            pass_fds=(their_input, their_output),
            process_group=0,
        )
        os.close(their_input)
        os.close(their_output)
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._input)
        os.close(self._output)

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(self, page: Path) -> None:
        """Loads a file and waits until all of its scripts ran."""
        self._events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._take()
        self.requests.remove(page.as_uri())

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; fails where it raises."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def frame(self) -> None:
        """Waits until what was changed is painted."""
        self.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => 1)"
        )

    def point(self, selector: str) -> None:
        """Moves the pointer onto the first element that the selector finds."""
        self._pointer("mouseMoved", *self._middle(selector))

    def click(self, selector: str) -> None:
        """Clicks on it."""
        x, y = self._middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._pointer(kind, x, y)

    def press(self, key: str) -> None:
        """Presses a key and lets it go."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def scheme(self, name: str) -> None:
        """What the system prefers from now on: "light" or "dark"."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, place: Path, *, whole: bool = False) -> None:
        """Writes what is seen, or all of the page, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        place.write_bytes(base64.b64decode(shot["data"]))

    def _middle(self, selector: str) -> tuple[float, float]:
        box = self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)}); found.scrollIntoView({{block: 'center'}});"
            " const box = found.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return box[0], box[1]

    def _pointer(self, kind: str, x: float, y: float) -> None:
        button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and waits for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._input, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._take()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _take(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            readable, _, _ = select.select([self._output], [], [], deadline - time.monotonic())
            assert readable, "the browser said nothing for too long"
            chunk = os.read(self._output, 1 << 20)
            assert chunk, "the browser ended"
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        self._events.append(method)
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(told["args"]))
            case "Log.entryAdded":
                self.complaints.append(told["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case _:
                pass


def _high_pipe() -> tuple[int, int]:
    """A pipe whose descriptors are out of the way of 3 and 4."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
