"""What a command prints: the result on stdout, the story on stderr.

On a terminal people get tables with headings and ages; in a pipe the same rows are tab-separated, without a
heading, whole, with times in ISO UTC. `--json` prints what the API would answer as `data`.
"""

import json as jsonlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from hub.cli.failure import Failure

if TYPE_CHECKING:
    from rich.console import Console

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What others wrote must neither break a row nor command the terminal."""

SYMBOLS = {
    "ok": ("✓", "ok"),
    "running": ("●", "*"),
    "asks": ("?", "?"),
    "wrong": ("✗", "x"),
}


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, and the key of the record it shows."""

    heading: str
    key: str


@dataclass(frozen=True)
class Output:
    """How this one command was asked to speak."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    @cached_property
    def on_terminal(self) -> bool:
        """Whether a person looks at stdout."""
        return sys.stdout.isatty()

    def records(self, records: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, empty: str) -> None:
        """A list as the result; with `--quiet` its first column. `empty` says on stderr why there is none."""
        if self.as_json:
            self.json(list(records))
            return
        if not records:
            self.say(empty)
            return
        if self.quiet:
            for record in records:
                sys.stdout.write(f"{plain(record[columns[0].key])}\n")
            return
        if not self.on_terminal:
            for record in records:
                sys.stdout.write("\t".join(plain(record[c.key]) for c in columns) + "\n")
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        for column in columns:
            table.add_column(column.heading.upper(), overflow="fold")
        for record in records:
            table.add_row(*(Text(shown(record[c.key])) for c in columns))
        self.stdout.print(table)

    def record(self, record: Mapping[str, Any], text: str, *, answer: str) -> None:
        """One thing as the result: all of it as JSON, else `text`, or just its `answer` with `--quiet`."""
        if self.as_json:
            self.json(dict(record))
        else:
            sys.stdout.write((answer if self.quiet else text) + "\n")

    def line(self, text: str) -> None:
        """One line of a result that has no table's form."""
        sys.stdout.write(text + "\n")

    def flush(self) -> None:
        """Let a reader see at once what was printed so far."""
        sys.stdout.flush()

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line of the story."""
        if self.quiet or self.as_json:
            return
        self._to_stderr(text, style)

    def warn(self, text: str) -> None:
        """Something that should be seen even by those who want little."""
        if not self.as_json:
            self._to_stderr(f"warning: {text}", "yellow")

    def fail(self, failure: Failure) -> None:
        """The reason why the command failed, on stderr."""
        if self.as_json:
            sys.stderr.write(jsonlib.dumps(failure.envelope(), ensure_ascii=False) + "\n")
            return
        first, *rest = failure.lines()
        self._to_stderr(first, "red")
        for line in rest:
            self._to_stderr(line, None)

    @cached_property
    def stdout(self) -> "Console":
        """A rich console, which keeps NO_COLOR, FORCE_COLOR and TERM=dumb."""
        return _console(sys.stdout)

    @cached_property
    def stderr(self) -> "Console":
        """The same for the story."""
        return _console(sys.stderr)

    def _to_stderr(self, text: str, style: str | None) -> None:
        if style is None or not sys.stderr.isatty():
            sys.stderr.write(text + "\n")
        else:
            self.stderr.print(text, style=style, markup=False, soft_wrap=True)

    def json(self, value: Any) -> None:
        """A value as the result, on one line."""
        sys.stdout.write(jsonlib.dumps(value, ensure_ascii=False, default=plain) + "\n")


def _console(stream: IO[str]) -> "Console":
    from rich.console import Console

    return Console(file=stream, highlight=False)


def symbol(name: str) -> str:
    """A mark that needs no colour, in ASCII where the terminal has nothing else."""
    pretty, ascii_only = SYMBOLS[name]
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return pretty if encoding == "utf8" else ascii_only


def plain(value: Any) -> str:
    """For programs: nothing shortened, times in ISO UTC, and no character that would break a row."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return CONTROL.sub(" ", str(value))


def shown(value: Any) -> str:
    """For people: times as ages."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return age(value, datetime.now(UTC))
    return CONTROL.sub(" ", str(value))


def age(moment: datetime, now: datetime) -> str:
    """How long ago, in one unit: `12s`, `2m`, `5h`, `3d`; `in 2m` for what is yet to come."""
    seconds = int((now - moment).total_seconds())
    text = _one_unit(abs(seconds))
    return f"in {text}" if seconds < 0 else text


def _one_unit(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
