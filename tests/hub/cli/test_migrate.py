"""`crossdock migrate`."""

from pathlib import Path

from core.store import migrate
from hub.version import newest_schema
from tests.hub.cli.conftest import Shell


def test_status_up_and_down_again(crossdock: Shell) -> None:
    newest = newest_schema()
    before = crossdock("migrate", "status", "--json").json
    assert before["current"] == migrate.EMPTY
    assert [step["version"] for step in before["pending"]][-1] == newest
    assert not Path("crossdock.db").exists()

    assert crossdock("migrate", "up", "--quiet").out == f"{newest}\n"
    assert crossdock("migrate", "status").out == f"schema {newest}, the newest\n"

    down = crossdock("migrate", "down", migrate.EMPTY, "--yes", "--json")
    assert down.json["current"] == migrate.EMPTY


def test_what_waits_is_listed_one_step_a_line(crossdock: Shell) -> None:
    ran = crossdock("migrate", "status")
    assert ran.out.splitlines()[0].split("\t") == ["0001", "Foundation"]
    assert "crossdock migrate up" in ran.err


def test_down_asks_and_without_a_terminal_refuses(crossdock: Shell) -> None:
    crossdock("migrate", "up")
    ran = crossdock("migrate", "down", migrate.EMPTY)
    assert ran.code == 2
    assert "--yes" in ran.err
    assert "every table and all data" in ran.err
    assert crossdock("migrate", "status", "--json").json["current"] == newest_schema()


def test_an_unknown_version_is_an_error_that_lists_the_known(crossdock: Shell) -> None:
    ran = crossdock("migrate", "up", "0999")
    assert ran.code == 1
    assert f"there are 0000, {migrate.scripts().get_base()}" in ran.err


def test_a_database_that_cannot_be_reached_has_its_own_exit_code(crossdock: Shell) -> None:
    ran = crossdock("migrate", "status", "--db", "postgresql://nobody@127.0.0.1:9/none", "--json")
    assert ran.code == 6
    assert ran.error["code"] == "DATABASE_UNREACHABLE"
