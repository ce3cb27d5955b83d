"""How a worker's notes are shown: a story on stderr, or with `--json` one object per line on stdout."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

import click

from hub.worker.notes import Kind, Note

MARKS: Mapping[Kind, tuple[str, str, str | None]] = {
    Kind.WAITING: ("●", "*", None),
    Kind.CLAIMED: ("●", "*", None),
    Kind.COMPLETED: ("✓", "ok", "green"),
    Kind.FAILED: ("✗", "x", "red"),
    Kind.REFUSED: ("✗", "x", "yellow"),
    Kind.CANCELLED: ("✗", "x", "yellow"),
    Kind.LOST: ("✗", "x", "yellow"),
    Kind.UNREACHABLE: ("?", "?", "yellow"),
    Kind.REACHABLE: ("●", "*", None),
    Kind.DRAINING: ("●", "*", None),
    Kind.STOPPED: ("✓", "ok", None),
}
"""Each kind's mark, its form in ASCII, and its colour; the words alone say it too."""


@dataclass
class Story:
    """Tells notes. On a terminal with the time of day and colours, in a pipe with whole ids and times."""

    as_json: bool = False
    quiet: bool = False
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)

    def __call__(self, note: Note) -> None:
        """Tell one note."""
        now = datetime.now(UTC)
        if self.as_json:
            self.stdout.write(json.dumps(_facts(note, now), ensure_ascii=False) + "\n")
            self.stdout.flush()
        elif not self.quiet:
            terminal = self.stderr.isatty()
            line = self._line(note, now, terminal)
            self.stderr.write((line if self._coloured(terminal) else click.unstyle(line)) + "\n")
            self.stderr.flush()

    def _line(self, note: Note, now: datetime, terminal: bool) -> str:
        mark, plain_mark, colour = MARKS[note.kind]
        unicode = (self.stderr.encoding or "").lower().replace("-", "") == "utf8"
        words = [mark if unicode else plain_mark]
        if note.claim is not None:
            words.append(f"…{note.claim.id[-4:]}" if terminal and unicode else note.claim.id)
            words.append(note.kind.value)
        words.append(_one_line(note.text))
        when = f"{now.astimezone():%H:%M:%S}" if terminal else _iso(now)
        return f"{when}  {click.style(' '.join(words).rstrip(), fg=colour)}"

    def _coloured(self, terminal: bool) -> bool:
        environ = os.environ
        if "NO_COLOR" in environ or environ.get("TERM") == "dumb":
            return False
        return terminal or "FORCE_COLOR" in environ


def _facts(note: Note, now: datetime) -> dict[str, object]:
    facts: dict[str, object] = {"event": note.kind.value, "at": _iso(now), **note.facts}
    if note.claim is not None:
        facts |= {"task_id": note.claim.id, "attempt": note.claim.attempt}
    if note.text:
        facts["text"] = note.text
    return facts


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """The text without what would move a terminal's cursor: titles and errors are other people's words."""
    return "".join(c if c.isprintable() else " " for c in text)
