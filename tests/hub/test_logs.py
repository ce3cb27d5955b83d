"""Log lines cannot be forged, and say everything a record holds."""

import json
import logging
import sys

import pytest

from hub.logs import JsonLines, TextLines, configure, one_line

HOSTILE = "fine\nERROR core: forged\r\x1b[2J\u2028"


def _record(message: str, *, broken: bool = False, **fields: object) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "core.x", "levelname": "WARNING", "msg": message, **fields})
    if broken:
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            record.exc_info = sys.exc_info()
    return record


def test_what_others_wrote_begins_no_line_and_commands_no_terminal() -> None:
    """Security rule: CR, LF and ESC are escaped."""
    line = TextLines().format(_record(HOSTILE, name_of_agent=HOSTILE))
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.count(r"\nERROR core: forged") == 2


def test_a_traceback_stands_indented_under_its_line() -> None:
    lines = TextLines().format(_record("it broke", broken=True)).split("\n")
    assert "it broke" in lines[0]
    assert all(line.startswith("  | ") for line in lines[1:])
    assert any("ValueError" in line for line in lines)


def test_json_is_one_object_a_line_with_the_records_own_fields() -> None:
    text = JsonLines().format(_record(HOSTILE, broken=True, task_id="t1"))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["task_id"]) == ("warning", "core.x", "t1")
    assert line["message"] == HOSTILE
    assert "ValueError" in line["exception"]


def test_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    try:
        configure(logging.DEBUG, "text")
        logging.getLogger("asyncio").debug("unheard")
        logging.getLogger("core.x").debug("heard")
    finally:
        root.handlers = before
        root.setLevel(level)
        logging.captureWarnings(False)
        for name in ("asyncio", "aiohttp", "alembic", "sqlalchemy", "uvicorn", "websockets"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    said = capsys.readouterr().err
    assert "heard" in said
    assert "unheard" not in said


def test_plain_text_stays_as_it_is() -> None:
    assert one_line("plain × text – as it is") == "plain × text – as it is"
