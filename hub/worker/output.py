"""What a command prints, read as it comes: lines for the conversation, and at the end the task's output.

Pure: bytes go in, text and JSON come out.
"""

import json
from typing import Any

HELD_BYTES = 1024 * 1024


class TooMuch(Exception):
    """The command printed more than it may; the message says of what."""


class Output:
    """Gathers standard output.

    The output of the task is the whole text without its last line ends, as in a shell's `$(…)`; or, when the
    whole is one JSON object with a member `output`, the value of that member. Such an object is not shown as
    lines, so what starts like one is held back until it is clear that it is none.
    """

    def __init__(self, *, longest_line: int, longest_whole: int) -> None:
        self._longest_line = longest_line
        self._longest_whole = longest_whole
        self._whole = bytearray()
        self._line_start = 0
        self._held: list[str] | None = []
        self._complete_object = False

    @property
    def whole(self) -> bytes:
        """Everything so far."""
        return bytes(self._whole)

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that may be shown now.

        Raises:
            TooMuch: a line, or the whole, is too long.
        """
        searched = len(self._whole)
        self._whole += chunk
        if len(self._whole) > self._longest_whole:
            raise TooMuch(f"it printed more than {self._longest_whole} bytes")
        lines = []
        while (end := self._whole.find(b"\n", searched)) >= 0:
            lines.append(self._line(end))
            self._line_start = searched = end + 1
        if len(self._whole) - self._line_start > self._longest_line:
            raise TooMuch(f"it printed a line of more than {self._longest_line} bytes")
        return self._show(lines)

    def close(self) -> list[str]:
        """The lines that remain when nothing more comes."""
        lines = self._show([self._line(len(self._whole))]) if self._line_start < len(self._whole) else []
        self._line_start = len(self._whole)
        held, self._held = self._held or [], None
        return lines if self._answer() is not None else held + lines

    def value(self) -> Any:
        """The task's output."""
        answer = self._answer()
        return answer["output"] if answer is not None else readable(bytes(self._whole)).rstrip("\r\n")

    def _line(self, end: int) -> str:
        if end - self._line_start > self._longest_line:
            raise TooMuch(f"it printed a line of more than {self._longest_line} bytes")
        return readable(bytes(self._whole[self._line_start : end])).removesuffix("\r")

    def _show(self, lines: list[str]) -> list[str]:
        shown: list[str] = []
        for line in lines:
            if self._held is None:
                shown.append(line)
            elif not line.strip() or self._may_be_object(line):
                self._held.append(line)
            else:
                shown += [*self._held, line]
                self._held = None
        return shown

    def _may_be_object(self, line: str) -> bool:
        """Whether the output, of which this is a line, may still turn out to be an answer in JSON."""
        if self._complete_object or len(self._whole) > HELD_BYTES:
            return False
        if any(held.strip() for held in self._held or ()):
            return True  # the first line with some text has decided; this one continues it
        if not line.lstrip().startswith("{"):
            return False
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            return True
        self._complete_object = isinstance(answer, dict) and "output" in answer
        return self._complete_object

    def _answer(self) -> dict[str, Any] | None:
        if not self._whole.lstrip().startswith(b"{"):
            return None
        try:
            answer = json.loads(bytes(self._whole), parse_constant=_no_number)
        except (ValueError, RecursionError):
            return None
        return answer if isinstance(answer, dict) and "output" in answer else None


def readable(raw: bytes) -> str:
    """The bytes as text that JSON can carry: what is no UTF-8, and NUL, becomes U+FFFD."""
    return raw.decode(errors="replace").replace("\0", "\ufffd")


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
