"""Log lines on stderr: text for people, JSON for collectors.

What others wrote can neither begin a line of its own nor command a terminal. What may be logged at all (no
bodies, no query strings, no credentials) is for those who log to keep.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("asyncio", "aiohttp", "alembic", "sqlalchemy", "uvicorn", "websockets")


def configure(level: int, form: str) -> None:
    """Send every logger's records to stderr; `form` is text or json. Libraries are heard from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def one_line(text: str) -> str:
    """The text with every control character written out."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class TextLines(logging.Formatter):
    """`14:03:22 WARNING core.tail: what happened  key=value`, and a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        at = datetime.fromtimestamp(record.created).astimezone()
        fields = "".join(f"  {name}={one_line(str(value))}" for name, value in _fields(record).items())
        line = f"{at:%H:%M:%S} {record.levelname:<7} {record.name}: {one_line(record.getMessage())}{fields}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n  | {one_line(part)}" for part in trace)
        return line


class JsonLines(logging.Formatter):
    """One object a line: `at`, `level`, `logger`, `message`, the record's own fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
