"""What a key of each scope may call: found out by calling, and written down in `hub/api/README.md`.

`python -m tests.conformance.rest.scopes` writes the table anew.
"""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from core.store import open_store
from core.store.schema import ddl
from hub.api import ROUTES
from hub.api.routing import Route
from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub, running

README: Final = Path(__file__).parents[3] / "hub" / "api" / "README.md"
BEGIN: Final = "<!-- scopes: written by python -m tests.conformance.rest.scopes -->\n"
END: Final = "<!-- /scopes -->"
SCOPES: Final = (Scope.AGENT, Scope.WORKER, Scope.SERVICE, Scope.ADMIN)


def path_of(route: Route) -> str:
    """The route's path to something that is not there."""
    path = route.url_path
    for name, _ in route.params:
        path = path.replace("{" + name + "}", UNLIKELY)
    return path


async def status(hub: Hub, route: Route, key: str | None) -> int:
    """How the route answers a request that is right in form."""
    path = path_of(route)
    if route.stream:
        async with hub.stream(path.removeprefix("/api/v1"), key=key) as stream:
            return await stream.started()
    body = None if route.body is None else json.dumps(route.example or {}).encode()
    return (await hub.send(route.method, path, key=key, body=body)).status


async def cells(hub: Hub, route: Route, keys: Mapping[Scope, str]) -> list[str]:
    """A cell for each scope: `yes`, or the refusal."""
    if route.scope is None:
        return ["no key needed"] * len(SCOPES)
    assert await status(hub, route, None) == 401, route.path
    answers = [await status(hub, route, keys[scope]) for scope in SCOPES]
    return ["403" if answer == 403 else "yes" for answer in answers]


async def table(hub: Hub) -> str:
    """The whole table as Markdown, by path."""
    keys = {scope: await hub.key(scope) for scope in SCOPES}
    lines = ["| Route | " + " | ".join(SCOPES) + " |", "| --- |" + " --- |" * len(SCOPES)]
    for route in sorted(ROUTES, key=lambda route: (route.path, route.method)):
        path = route.path.replace(":text}", "}")
        lines.append(f"| `{route.method} {path}` | " + " | ".join(await cells(hub, route, keys)) + " |")
    return "\n".join(lines) + "\n"


def written() -> str:
    """The table that the documentation has."""
    return README.read_text().partition(BEGIN)[2].partition(END)[0]


async def _write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/hub.db"
        with sqlite3.connect(file) as tables:
            tables.executescript(";".join(ddl("sqlite")))
        async with running(open_store(f"sqlite:///{file}")) as hub:
            before, _, rest = README.read_text().partition(BEGIN)
            README.write_text(before + BEGIN + await table(hub) + END + rest.partition(END)[2])


if __name__ == "__main__":
    asyncio.run(_write())
