"""`crossdock doctor` names what is wrong, and changes nothing."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.hub.cli.conftest import Ran, Shell


def _by_check(ran: Ran) -> dict[str, Any]:
    worst: dict[str, Any] = {}
    for finding in ran.json:
        if worst.get(finding["check"], {}).get("state") != "fix":
            worst[finding["check"]] = finding
    return worst


def test_an_empty_directory_is_healthy_and_stays_empty(crossdock: Shell) -> None:
    ran = crossdock("doctor", "--json")
    assert ran.code == 0
    found = _by_check(ran)
    assert found["hub"]["state"] == "note"
    assert {f["state"] for name, f in found.items() if name != "hub"} == {"ok"}
    assert list(crossdock.directory.iterdir()) == []


def test_after_the_first_start_it_names_the_schema(crossdock: Shell) -> None:
    crossdock("keys", "create")
    assert re.search(r"schema \d{4}", crossdock("doctor").out)


def test_in_a_pipe_each_finding_is_a_row(crossdock: Shell) -> None:
    rows = [line.split("\t") for line in crossdock("doctor").out.splitlines()]
    assert {row[0] for row in rows} <= {"ok", "note", "fix"}
    assert all(len(row) == 3 for row in rows)


@pytest.mark.parametrize(
    ("variable", "value", "check", "says"),
    [
        ("CROSSDOCK_PRT", "1", "settings", "did you mean CROSSDOCK_PORT"),
        ("CROSSDOCK_PORT", "x", "settings", "CROSSDOCK_PORT must be a number"),
        ("CROSSDOCK_HOST", "0.0.0.0", "address", "CROSSDOCK_SECRET_KEY must be set"),
        ("CROSSDOCK_DATABASE_URL", "postgresql://n@127.0.0.1:9/x", "database", "PostgreSQL"),
        ("CROSSDOCK_DATABASE_URL", "sqlite:///nowhere/hub.db", "database", "mkdir -p"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    crossdock: Shell, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, check: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    ran = crossdock("doctor", "--json")
    assert ran.code == 1
    fixes = [f["message"] for f in ran.json if f["state"] == "fix" and f["check"] == check]
    assert any(says in message for message in fixes)


def test_an_address_that_others_cannot_reach_is_named(
    crossdock: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSDOCK_HOST", "0.0.0.0")
    monkeypatch.setenv("CROSSDOCK_SECRET_KEY", "s" * 32)
    monkeypatch.setenv("CROSSDOCK_PUBLIC_URL", "https://127.0.0.1")
    ran = crossdock("doctor")
    assert ran.code == 1
    assert "callers elsewhere fail. Set CROSSDOCK_PUBLIC_URL" in ran.out


@pytest.mark.parametrize("name", ["crossdock.db", "crossdock.secret"])
def test_open_files_are_named_with_the_command_that_closes_them(crossdock: Shell, name: str) -> None:
    crossdock("keys", "create")
    Path(name).chmod(0o604)
    ran = crossdock("doctor")
    assert ran.code == 1
    assert f"chmod 600 {Path(name).absolute()}" in ran.out


def test_a_secret_is_never_shown(crossdock: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_SECRET_KEY", "q" * 40)
    ran = crossdock("doctor", "--verbose")
    assert "q" * 40 not in ran.out + ran.err


def test_a_bucket_that_cannot_be_reached_is_to_be_fixed(
    crossdock: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {
        "CROSSDOCK_FILES": "s3://hub/files",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in nowhere.items():
        monkeypatch.setenv(name, value)
    found = _by_check(crossdock("doctor", "--json"))
    assert found["files"]["state"] == "fix"
    assert "s3://hub/files" in found["files"]["message"]
