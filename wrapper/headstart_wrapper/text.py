"""What compilers print, made fit for a response: valid UTF-8, bounded, ending in a newline; and what we print among it.

Not for choosing what to show (dialects do) nor for passing output through in standalone mode, where bytes stay bytes.

`BoundedText` keeps the beginning, where the first error is, and the end, where the summary is. What lies between is
dropped as it comes, so a compiler that prints gigabytes costs no more memory than one that prints the bound.
"""

from __future__ import annotations

from headstart_wrapper.hints import Final, final

# Bazel shows at most 1 MiB of an action's output (--experimental_ui_max_stdouterr_bytes); half of it for each end.
DEFAULT_END_BYTES: Final = 512 * 1024

_KEPT_CONTROLS: Final = b"\t\n\r\x1b"  # ESC begins the colours that compilers print
# A forbidden control character becomes 0xFF, which is never valid UTF-8: decoding turns both into U+FFFD in one pass.
_CONTROLS_TO_INVALID: Final = bytes(
    0xFF if byte < 0x20 and byte not in _KEPT_CONTROLS else byte for byte in range(256)
)


def sanitise(data: bytes) -> str:
    """Turns any bytes into text that every encoding of a response can carry.

    Invalid UTF-8 (encoded surrogates too) and C0 control characters other than tab, newline, carriage return and ESC
    become U+FFFD. A host kills a worker whose `output` is not valid UTF-8, and NUL ends the text for many a terminal.
    """
    return data.translate(_CONTROLS_TO_INVALID).decode("utf-8", "replace")


def unsurrogated(text: str) -> str:
    """Replaces lone surrogates, which file names that are not UTF-8 bring into Python's strings, by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def message_line(text: str) -> str:
    """A message of ours as output: one line with our name before it."""
    return f"process-wrapper: {text.rstrip()}\n"


@final
class BoundedText:
    """Collects output of any length and keeps its two ends; passive, never fails.

    Memory stays below `head_bytes` plus three times `tail_bytes` whatever is appended; a byte costs amortised O(1).
    """

    def __init__(self, head_bytes: int = DEFAULT_END_BYTES, tail_bytes: int = DEFAULT_END_BYTES) -> None:
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._head = bytearray()
        self._tail = (
            bytearray()
        )  # the last bytes that the head did not take: at least tail_bytes of them if so many came
        self._total = 0

    def append(self, data: bytes) -> None:
        """Takes the next bytes, cut anywhere."""
        self._total += len(data)
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if len(data) > self._tail_bytes:
            self._tail.clear()
            data = data[len(data) - self._tail_bytes :]
        self._tail += data
        # Trimming only at twice the bound moves each byte at most once more.
        if len(self._tail) > 2 * self._tail_bytes:
            del self._tail[: len(self._tail) - self._tail_bytes]

    def result(self) -> str:
        """What was kept, sanitised: empty, or ending in a newline.

        Nothing is left out unless more than both ends together came. Where something is, a line of ours says how many
        bytes; the cut is at a line's end when one is near, and never inside a character.
        """
        if self._total <= self._head_bytes + self._tail_bytes:
            text = sanitise(bytes(self._head + self._tail))
        else:
            head = self._head[: _end_of_head(self._head)]
            tail = self._tail[len(self._tail) - self._tail_bytes :]
            del tail[: _start_of_tail(tail)]
            left_out = self._total - len(head) - len(tail)
            if head and not head.endswith(b"\n"):
                head += b"\n"
            note = b"process-wrapper: %d bytes of output left out here\n" % left_out
            text = sanitise(bytes(head + note + tail))
        if text and not text.endswith("\n"):
            text += "\n"
        return text


# A whole line is worth up to half of what an end may keep; beyond that, half a line tells more than none.


def _end_of_head(head: bytearray) -> int:
    newline = head.rfind(b"\n", len(head) // 2)
    if newline >= 0:
        return newline + 1
    # The last character may be cut: its first byte is among the last three and announces more bytes than there are.
    for position in range(len(head) - 1, max(len(head) - 4, -1), -1):
        if head[position] >= 0xC0:
            announced = 2 + (head[position] >= 0xE0) + (head[position] >= 0xF0)
            return position if position + announced > len(head) else len(head)
        if head[position] < 0x80:
            break
    return len(head)


def _start_of_tail(tail: bytearray) -> int:
    newline = tail.find(b"\n", 0, len(tail) // 2)
    if newline >= 0:
        return newline + 1
    for position in range(min(3, len(tail))):  # at most three bytes continue a character
        if not 0x80 <= tail[position] < 0xC0:
            return position
    return min(3, len(tail))
