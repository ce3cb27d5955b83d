"""A real hub in a process of its own, as a client in another language would meet it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 30.0


@dataclass(frozen=True)
class RunningHub:
    """Where a hub is, and a key for everything."""

    url: str
    admin_key: str

    def post(self, path: str, body: dict[str, Any], key: str | None = None) -> Any:
        """POST to the REST API; the data of the answer."""
        headers = {"Authorization": f"Bearer {key or self.admin_key}"}
        answer = httpx.post(f"{self.url}/api/v1{path}", json=body, headers=headers, timeout=40)
        answer.raise_for_status()
        return None if answer.status_code == 204 else answer.json()["data"]

    def get(self, path: str) -> Any:
        """GET from the REST API; the data of the answer."""
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        answer = httpx.get(f"{self.url}/api/v1{path}", headers=headers, timeout=40)
        answer.raise_for_status()
        return answer.json()["data"]

    def key_for(self, owner: str) -> str:
        """A key of the least scope for somebody who submits work."""
        minted = self.post("/api-keys", {"scope": "agent", "owner_type": "user", "owner_id": owner})
        key: str = minted["api_key"]
        return key


@contextmanager
def running_hub(directory: Path, **settings: str) -> Iterator[RunningHub]:
    """Serve on free ports with SQLite in `directory`, gRPC too, until the block ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    with (directory / "stderr.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hub", "serve", "--port", "0", "--json"],
            cwd=directory,
            env={
                **kept,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "CROSSDOCK_GRPC_PORT": str(free_port()),
                **settings,
            },
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (directory / "stderr.log").read_text()
        said = json.loads(line)
        hub = RunningHub(said["url"], said["admin_key"])
        _wait_until_ready(hub)
        yield hub
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)
        if process.stdout is not None:
            process.stdout.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(hub: RunningHub) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{hub.url}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
