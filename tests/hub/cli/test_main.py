"""The frame of the command line: results, stories, errors and exit codes."""

import platform
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from core.store import migrate
from hub.cli.main import COMMANDS
from hub.version import newest_schema
from tests.hub.cli.conftest import Shell


def test_alone_it_says_how_to_start(crossdock: Shell) -> None:
    ran = crossdock()
    assert ran.code == 0
    assert "No hub at http://127.0.0.1:9" in ran.out
    assert "crossdock serve --demo" in ran.out
    assert crossdock("--json").json == {
        "url": "http://127.0.0.1:9",
        "reachable": False,
        "ready": False,
        "program": version("crossdock"),
    }


def test_the_version_names_everything_a_bug_report_needs(crossdock: Shell) -> None:
    expected = {
        "crossdock": version("crossdock"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "schema": newest_schema(),
    }
    assert crossdock("--version", "--json").json == expected
    assert all(part in crossdock("--version").out for part in expected.values())


def test_the_schema_read_off_the_file_names_is_the_newest() -> None:
    assert newest_schema() == migrate.scripts().get_current_head()


def test_help_shows_every_command_and_examples_before_options(crossdock: Shell) -> None:
    text = crossdock("--help").out
    for name, (_, line) in COMMANDS.items():
        assert f"  {name}" in text
        assert line in text
    assert text.index("Examples:") < text.index("Options:")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(crossdock: Shell, name: str) -> None:
    ran = crossdock(name, "--help")
    assert ran.code == 0
    assert f"crossdock {name}" in ran.out[ran.out.index("Examples:") :]


def test_a_misspelt_command_is_answered_with_the_nearest(crossdock: Shell) -> None:
    ran = crossdock("srve")
    assert ran.code == 2
    assert ran.out == ""
    assert "did you mean serve?" in ran.err


def test_with_json_an_error_has_the_shape_of_the_api(crossdock: Shell) -> None:
    ran = crossdock("nonsense", "--json")
    assert ran.code == 2
    assert ran.error["code"] == "USAGE"
    assert "nonsense" in ran.error["message"]


def test_json_may_stand_before_the_command(crossdock: Shell) -> None:
    assert crossdock("--json", "migrate", "status").json == crossdock("migrate", "status", "--json").json


def test_a_bad_setting_stops_with_its_name_and_a_value_that_works(
    crossdock: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSDOCK_PORT", "many")
    ran = crossdock()
    assert ran.code == 2
    assert "CROSSDOCK_PORT must be a number" in ran.err
    assert "CROSSDOCK_PORT=8080" in ran.err
    assert crossdock("--json").error["details"] == {"setting": "CROSSDOCK_PORT"}


def test_a_misspelt_setting_is_warned_of_on_stderr(crossdock: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_PUBLC_URL", "x")
    ran = crossdock("migrate", "status")
    assert ran.code == 0
    assert "did you mean CROSSDOCK_PUBLIC_URL?" in ran.err


def test_what_nobody_foresaw_is_one_line_and_with_verbose_a_traceback(
    crossdock: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the sky fell")

    monkeypatch.setattr("hub.cli.status.ask", broken)
    short, long = crossdock(), crossdock("--verbose")
    assert (short.code, long.code) == (1, 1)
    assert "the sky fell" in short.err
    assert "Traceback" not in short.err
    assert "Traceback" in long.err


def test_the_command_loads_little_before_it_knows_what_to_do() -> None:
    """Every command pays for what this loads."""
    script = "import sys, hub.cli.main; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"sqlalchemy", "alembic", "aiohttp", "rich", "pydantic", "starlette", "cryptography", "uvicorn"}
    assert not heavy & set(loaded.stdout.split())


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).with_name("crossdock")
    ran = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(f"Crossdock {version('crossdock')}")
    assert ran.stderr == ""


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = Path(sys.executable).with_name("crossdock")
    script = f"set -o pipefail; {command} --help | head -n 1"
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("Usage")
    assert ran.stderr == ""
