"""How the demo prints: one line for each thing that happens, with the seconds since it began."""

import time

from hub.cli.output import Output


class Show:
    """The timeline."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._begun = time.monotonic()
        self.lines: list[dict[str, object]] = []

    def line(self, who: str, text: str, right: str = "", *, style: str | None = None) -> None:
        """Print one line; with `--json` it is collected for the end."""
        at = time.monotonic() - self._begun
        self.lines.append({"at": round(at, 3), "who": who, "text": text, "detail": right})
        spaced = f"{text:<34}{right}" if right else text
        self._out.say(f"{at:5.1f}  {who:<9} {spaced}".rstrip(), style=style)

    def blank(self) -> None:
        """An empty line."""
        self._out.say("")

    def text(self, text: str) -> None:
        """A line without a time."""
        self._out.say(text)


def short(identifier: str) -> str:
    """The end of an id: UUIDv7s begin alike."""
    return f"…{identifier[-4:]}"
