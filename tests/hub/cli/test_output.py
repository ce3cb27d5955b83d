"""How values look to people and to programs."""

import io
import sys
from datetime import UTC, datetime, timedelta

import pytest

from hub.cli.failure import Failure, Hint
from hub.cli.output import Column, Output, age, plain, symbol

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Yes."""
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stdout and stderr as one terminal, 80 columns wide."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=0), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=2, seconds=5), "2m"),
        (timedelta(hours=5), "5h"),
        (timedelta(days=400), "400d"),
        (timedelta(minutes=-2), "in 2m"),
    ],
)
def test_ages_have_one_unit(ago: timedelta, shown: str) -> None:
    assert age(NOW - ago, NOW) == shown


def test_programs_get_times_in_utc_and_rows_that_do_not_break() -> None:
    assert plain(NOW.astimezone()) == "2026-05-01T12:00:00.000Z"
    assert plain("a\tb\r\nc") == "a b  c"
    assert "\x1b" not in plain("\x1b[2Jgone")
    assert plain(None) == ""


def test_on_a_terminal_a_list_is_a_table_with_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    rows = [{"id": "1", "name": "[bold]not markup[/bold]"}]
    Output().records(rows, [Column("id", "id"), Column("name", "name")], empty="")
    text = terminal.getvalue()
    assert "ID" in text
    assert "NAME" in text
    assert "[bold]not markup[/bold]" in text


def test_no_color_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    Output().fail(Failure("it broke", [Hint("try", "again")]))
    assert "it broke" in terminal.getvalue()
    assert "\x1b[31m" not in terminal.getvalue()


def test_an_error_on_a_terminal_is_red_and_on_paper_still_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    Output().fail(Failure("it broke", [Hint("try", "again")]))
    assert "\x1b[31m" in terminal.getvalue()
    assert "error: it broke" in terminal.getvalue()


def test_marks_are_ascii_where_there_is_no_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    stream.encoding = "ascii"
    monkeypatch.setattr(sys, "stdout", stream)
    assert symbol("ok") == "ok"


def test_an_empty_list_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output().records([], [Column("id", "id")], empty="There are none.")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "There are none.\n")


def test_an_empty_list_as_json_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).records([], [Column("id", "id")], empty="There are none.")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("[]\n", "")
