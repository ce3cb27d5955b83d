"""`crossdock keys`, beside the database."""

import asyncio
import os
import pwd
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from tests.hub.cli.conftest import Shell

POSTGRES = os.environ.get("CROSSDOCK_TEST_POSTGRES_URL")


def test_the_first_key_makes_database_secret_and_admin_key(crossdock: Shell) -> None:
    ran = crossdock("keys", "create")
    assert ran.code == 0
    assert ran.out.startswith("xd_agent_")
    assert ran.out.count("\n") == 1
    assert "The first admin key of this database, shown only now: xd_admin_" in ran.err
    assert {path.name for path in crossdock.directory.iterdir()} >= {"crossdock.db", "crossdock.secret"}
    for name in ("crossdock.db", "crossdock.secret"):
        assert Path(name).stat().st_mode & 0o077 == 0


def test_only_the_key_is_on_stdout_so_that_a_shell_can_take_it(crossdock: Shell) -> None:
    quiet = crossdock("keys", "create", "--quiet")
    assert quiet.out.startswith("xd_agent_")
    assert quiet.err == ""


def test_a_key_belongs_to_whoever_made_it_unless_told_otherwise(crossdock: Shell) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    crossdock("keys", "create")
    crossdock("keys", "create", "--owner", "alice", "--label", "laptop", "--expires", "90d")
    alices, mine, _first = crossdock("keys", "list", "--json").json
    assert (alices["owner_id"], alices["label"], mine["owner_id"]) == ("alice", "laptop", me)
    assert alices["expires_at"] is not None
    assert mine["expires_at"] is None


def test_the_list_never_shows_a_whole_key(crossdock: Shell) -> None:
    key = crossdock("keys", "create", "--quiet").out.strip()
    for ran in (crossdock("keys", "list"), crossdock("keys", "list", "--json")):
        assert key not in ran.out
        assert key[:15] in ran.out


def test_the_list_in_a_pipe_is_tabs_without_a_heading(crossdock: Shell) -> None:
    crossdock("keys", "create", "--label", "a\tb\nc")
    rows = [line.split("\t") for line in crossdock("keys", "list").out.splitlines()]
    assert [len(row) for row in rows] == [9, 9]
    assert rows[0][4] == "a b c"


@pytest.mark.parametrize("said", ["prefix", "id", "end of id", "key"])
def test_a_key_is_revoked_by_any_of_its_names(crossdock: Shell, said: str) -> None:
    made = crossdock("keys", "create", "--json").json
    names = {
        "prefix": made["key_prefix"],
        "id": made["id"],
        "end of id": made["id"][-8:],
        "key": made["api_key"],
    }
    ran = crossdock("keys", "revoke", names[said], "--yes", "--json")
    assert ran.code == 0
    assert ran.json["state"] == "revoked"
    listed = {key["id"]: key["state"] for key in crossdock("keys", "list", "--json").json}
    assert listed.pop(made["id"]) == "revoked"
    assert set(listed.values()) == {"valid"}


def test_revoking_again_changes_nothing_and_is_no_error(crossdock: Shell) -> None:
    made = crossdock("keys", "create", "--json").json
    first = crossdock("keys", "revoke", made["id"], "--yes", "--json").json
    assert crossdock("keys", "revoke", made["id"], "--json").json == first


def test_revoking_without_a_terminal_needs_yes(crossdock: Shell) -> None:
    made = crossdock("keys", "create", "--json").json
    ran = crossdock("keys", "revoke", made["id"])
    assert ran.code == 2
    assert "--yes" in ran.err
    assert {key["state"] for key in crossdock("keys", "list", "--json").json} == {"valid"}


def test_an_unknown_or_ambiguous_name_revokes_nothing(crossdock: Shell) -> None:
    crossdock("keys", "create")
    crossdock("keys", "create")
    unknown = crossdock("keys", "revoke", "nobody", "--yes", "--json")
    assert (unknown.code, unknown.error["code"]) == (1, "NOT_FOUND")
    ambiguous = crossdock("keys", "revoke", "", "--yes", "--json")
    assert (ambiguous.code, ambiguous.error["code"]) == (1, "AMBIGUOUS")
    assert {key["state"] for key in crossdock("keys", "list", "--json").json} == {"valid"}


def test_commands_beside_a_chosen_admin_key_leave_it_alone(
    crossdock: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSDOCK_ADMIN_API_KEY", "chosen-by-the-operator-0123456789")
    crossdock("keys", "list")
    monkeypatch.delenv("CROSSDOCK_ADMIN_API_KEY")
    crossdock("keys", "create")
    labels = {key["label"]: key["state"] for key in crossdock("keys", "list", "--json").json}
    assert labels["CROSSDOCK_ADMIN_API_KEY"] == "valid"


def test_another_secret_than_the_databases_is_refused(
    crossdock: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossdock("keys", "create")
    monkeypatch.setenv("CROSSDOCK_SECRET_KEY", "another secret of enough bytes, really")
    ran = crossdock("keys", "create", "--json")
    assert (ran.code, ran.error["code"]) == (1, "FOREIGN_SECRET")


@pytest.mark.parametrize("name", ["crossdock.db", "crossdock.secret"])
def test_files_that_others_may_use_are_refused(crossdock: Shell, name: str) -> None:
    """Security rule: secret and database files are 0600, else nothing happens."""
    crossdock("keys", "create")
    Path(name).chmod(0o644)
    ran = crossdock("keys", "list")
    assert ran.code == 1
    assert f"chmod 600 {Path(name).absolute()}" in ran.err


def test_an_owner_that_does_not_fit_the_scope_is_refused(crossdock: Shell) -> None:
    ran = crossdock("keys", "create", "--scope", "agent", "--owner-type", "system", "--json")
    assert (ran.code, ran.error["code"]) == (1, "SCHEMA_VALIDATION_FAILED")


async def test_the_same_commands_work_beside_postgresql(crossdock: Shell) -> None:
    if POSTGRES is None:
        pytest.skip("CROSSDOCK_TEST_POSTGRES_URL is not set")
    name = f"crossdock_keys_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(POSTGRES)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        url = urlsplit(POSTGRES)._replace(path=f"/{name}").geturl()

        def beside(*arguments: str) -> Any:
            ran = crossdock("keys", *arguments, "--db", url, "--json")
            assert ran.code == 0, ran.err
            return ran.json

        made = await asyncio.to_thread(beside, "create", "--owner", "alice")
        revoked = await asyncio.to_thread(beside, "revoke", made["id"], "--yes")
        states = [key["state"] for key in await asyncio.to_thread(beside, "list")]
        assert (revoked["id"], states) == (made["id"], ["revoked", "valid"])
        assert [path.name for path in crossdock.directory.iterdir()] == ["crossdock.secret"]
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.close()


def test_a_bad_duration_is_a_usage_error(crossdock: Shell) -> None:
    ran = crossdock("keys", "create", "--expires", "3w")
    assert ran.code == 2
    assert "90d, 12h or 30m" in ran.err
