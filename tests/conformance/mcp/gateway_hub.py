"""A hub whose gateway has servers behind it, for clients and suites that come over a socket."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conformance.hub_process import RunningHub, free_port

ROOT = Path(__file__).parents[3]


@contextmanager
def everything(*options: str) -> Iterator[str]:
    """The endpoint of the fixture server, in a process of its own."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "tests.conformance.mcp.everything", str(port), *options]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.post(f"http://127.0.0.1:{port}/mcp", timeout=5)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait(15)


def granted(hub: RunningHub, slug: str, endpoint: str) -> str:
    """A key of somebody who was granted a server that is registered now."""
    hub.post("/remote-mcp-servers", {"name": slug, "slug": slug, "endpoint_url": endpoint})
    minted = hub.post("/api-keys", {"scope": "agent", "owner_type": "user", "owner_id": f"of {slug}"})
    hub.post("/mcp-grants", {"subject": {"kind": "principal", "name": f"of {slug}"}, "server": slug})
    key: str = minted["api_key"]
    return key
