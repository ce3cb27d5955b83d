"""Asks a hub whether it is there, with the standard library alone: the client takes long to load."""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Answer:
    """What a hub said about itself. `status` is None when nothing answered, and `problem` says why."""

    url: str
    status: int | None
    body: Any
    problem: str | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes calls."""
        return self.status == 200


def ask(url: str, path: str = "/health/ready") -> Answer:
    """One GET; never raises for what the other side does."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", parts.path.rstrip("/") + path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        return Answer(url, response.status, _json(response.read(65_536)))
    except (OSError, http.client.HTTPException) as failure:
        return Answer(url, None, None, str(failure) or type(failure).__name__)
    finally:
        connection.close()


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
