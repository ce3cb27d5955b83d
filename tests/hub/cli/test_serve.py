"""`crossdock serve` as a process: what it makes, what it says, what it refuses, how it stops."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from hub.cli.probe import ask

PATIENCE = 20.0
LONG_SECRET = "a secret that was chosen, of more than 32 bytes"


@dataclass
class Hub:
    """A hub that runs, and the first thing it said."""

    process: "subprocess.Popen[str]"
    directory: Path
    said: str

    @property
    def first(self) -> Any:
        """The first line, as JSON."""
        return json.loads(self.said)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and everything on stderr."""
        self.process.send_signal(how)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


def _environ(**settings: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    return {**plain, **settings, "PYTHONSAFEPATH": "1"}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hub", *arguments]


@contextmanager
def _serving(directory: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Hub]:
    process = subprocess.Popen(
        _command("serve", "--port", "0", *arguments),
        cwd=directory,
        env=_environ(**(environ or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Hub(process, directory, _first_screen(process.stdout, whole="--json" not in arguments))
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def _first_screen(stream: IO[str] | None, *, whole: bool) -> str:
    """What stands on stdout once the hub is ready. It ends the wait by ending; pytest's timeout bounds it."""
    assert stream is not None
    lines = [stream.readline()]
    while whole and lines[-1] and not lines[-1].startswith("Next:") and "--exec" not in lines[-1]:
        lines.append(stream.readline())
    return "".join(lines)


def _run(directory: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(*arguments),
        cwd=directory,
        env=_environ(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _get(url: str, key: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def test_the_first_start_makes_what_is_missing_and_shows_the_admin_key_once(tmp_path: Path) -> None:
    with _serving(tmp_path) as hub:
        assert re.search(r"Admin key  xd_admin_\S+   shown only now", hub.said)
        for name in ("crossdock.db", "crossdock.secret"):
            assert (tmp_path / name).stat().st_mode & 0o077 == 0
        code, story = hub.stop()
        assert code == 0
        assert re.fullmatch(r"Stopping: .*\nStopped after \S+ s\. Bye\.\n", story)
    with _serving(tmp_path) as again:
        assert "Admin key" not in again.said
        assert "Next:" in again.said


def test_the_key_that_is_shown_opens_the_door(tmp_path: Path) -> None:
    with _serving(tmp_path, "--json") as hub:
        url, key = hub.first["url"], hub.first["admin_key"]
        assert ask(url).ready
        assert _get(f"{url}/api/v1/auth/me", key)["data"]["scope"] == "admin"


def test_status_and_doctor_see_a_hub_that_runs(tmp_path: Path) -> None:
    with _serving(tmp_path, "--json") as hub:
        alone = _run(tmp_path, "--json", CROSSDOCK_URL=hub.first["url"])
        assert json.loads(alone.stdout)["ready"] is True
        doctor = _run(tmp_path, "doctor", CROSSDOCK_URL=hub.first["url"])
        assert doctor.returncode == 0
        assert f"{hub.first['url']} is ready" in doctor.stdout


def test_keys_are_made_while_a_hub_serves_the_file_and_work_at_once(tmp_path: Path) -> None:
    with _serving(tmp_path, "--json") as hub:
        key = _run(tmp_path, "keys", "create", "--quiet").stdout.strip()
        assert _get(f"{hub.first['url']}/api/v1/tasks", key)["data"] == []


def test_a_second_hub_on_the_same_file_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with _serving(tmp_path, "--json") as hub:
        second = _run(tmp_path, "serve", "--port", "0")
        assert second.returncode == 1
        assert f"crossdock.db is served by pid {hub.process.pid}" in second.stderr
        assert "PostgreSQL" in second.stderr


def test_a_port_that_is_taken_is_named_with_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = _run(tmp_path, "serve", "--port", str(port))
    assert ran.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in ran.stderr
    assert "--port 0" in ran.stderr


@pytest.mark.parametrize(
    ("settings", "arguments", "why"),
    [
        ({}, [], "CROSSDOCK_SECRET_KEY must be set"),
        ({"CROSSDOCK_SECRET_KEY": LONG_SECRET}, [], "CROSSDOCK_PUBLIC_URL must be set"),
        (
            {"CROSSDOCK_SECRET_KEY": LONG_SECRET, "CROSSDOCK_PUBLIC_URL": "http://hub.internal"},
            [],
            "must be https",
        ),
        (
            {"CROSSDOCK_SECRET_KEY": LONG_SECRET, "CROSSDOCK_PUBLIC_URL": "https://hub.example.com"},
            ["--demo"],
            "must be loopback for --demo",
        ),
    ],
)
def test_beyond_loopback_nothing_is_served_by_accident(
    tmp_path: Path, settings: dict[str, str], arguments: list[str], why: str
) -> None:
    """Security rule: another address needs an explicit secret, an https address, and no demo."""
    ran = _run(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0", *arguments, **settings)
    assert ran.returncode == 2
    assert why in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["crossdock.db", "crossdock.secret"])
def test_a_hub_does_not_start_on_files_that_others_may_use(tmp_path: Path, name: str) -> None:
    """Security rule: secret and database files are 0600, else refuse."""
    _run(tmp_path, "keys", "create")
    (tmp_path / name).chmod(0o640)
    ran = _run(tmp_path, "serve", "--port", "0")
    assert ran.returncode == 1
    assert f"chmod 600 {tmp_path / name}" in ran.stderr


def test_a_newer_database_and_a_foreign_secret_are_refused(tmp_path: Path) -> None:
    _run(tmp_path, "keys", "create")
    foreign = _run(tmp_path, "serve", "--port", "0", "--json", CROSSDOCK_SECRET_KEY=LONG_SECRET)
    assert (foreign.returncode, json.loads(foreign.stderr)["error"]["code"]) == (1, "FOREIGN_SECRET")
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sqlite3; c = sqlite3.connect('crossdock.db');"
            "c.execute(\"UPDATE schema_version SET version_num = '9999'\"); c.commit()",
        ],
        cwd=tmp_path,
        timeout=PATIENCE,
        check=True,
    )
    newer = _run(tmp_path, "serve", "--port", "0", "--json")
    assert (newer.returncode, json.loads(newer.stderr)["error"]["code"]) == (1, "DATABASE_TOO_NEW")


@pytest.mark.skipif(shutil.which("curl") is None, reason="what the demo prints calls curl")
def test_what_the_demo_prints_runs_as_pasted(tmp_path: Path) -> None:
    with _serving(tmp_path, "--demo") as hub:
        blocks = re.split(r"\n +# .*\n", hub.said)
        export = next(line for line in blocks[0].splitlines() if "export" in line)
        waited, watched = (
            subprocess.run(
                ["bash", "-euc", f"{export}\n{block}"],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
            ).stdout
            for block in blocks[1:3]
        )
        task = json.loads(waited)["result"]["task"]
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert task["artifacts"][0]["parts"] == [{"text": "Hello."}]
        assert watched.count("artifactUpdate") == 7
        assert "TASK_STATE_COMPLETED" in watched
        code, story = hub.stop(signal.SIGINT)
        assert code == 0
        assert "warning" not in story


def test_a_worker_beside_the_hub_lets_itself_in(tmp_path: Path) -> None:
    with _serving(tmp_path, "--json") as hub:
        url, key = hub.first["url"], hub.first["admin_key"]
        worker = subprocess.Popen(
            _command("worker", "--exec", "cat", "--name", "beside", "--json"),
            cwd=tmp_path,
            env=_environ(CROSSDOCK_URL=url),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert worker.stdout is not None
            assert json.loads(worker.stdout.readline())["event"] == "waiting"
            assert [agent["name"] for agent in _get(f"{url}/api/v1/agents", key)["data"]] == ["beside"]
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE) == 0
        finally:
            worker.kill()
            worker.communicate(timeout=PATIENCE)


def test_a_worker_with_neither_key_nor_database_is_told_what_to_do(tmp_path: Path) -> None:
    ran = _run(tmp_path, "worker", "--exec", "cat")
    assert ran.returncode == 4
    assert "CROSSDOCK_API_KEY is not set" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_health_check_of_the_image_follows_the_hub(tmp_path: Path) -> None:
    check = [sys.executable, "-m", "hub.cli.healthcheck"]
    with _serving(tmp_path, "--json") as hub:
        port = str(hub.first["url"].rpartition(":")[2])
        assert (
            subprocess.run(check, env=_environ(CROSSDOCK_PORT=port), timeout=PATIENCE, check=False).returncode
            == 0
        )
        hub.stop()
        assert (
            subprocess.run(check, env=_environ(CROSSDOCK_PORT=port), timeout=PATIENCE, check=False).returncode
            == 1
        )


def test_with_json_logging_every_line_of_the_log_is_an_object(tmp_path: Path) -> None:
    settings = {"CROSSDOCK_LOG_FORMAT": "json", "CROSSDOCK_LOG_LEVEL": "debug"}
    with _serving(tmp_path, "--json", environ=settings) as hub:
        _code, log = hub.stop()
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())
