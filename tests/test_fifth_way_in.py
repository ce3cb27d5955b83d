"""A further protocol is one folder and one line: here a toy of two routes, in this file instead of a folder.

It submits a task and reads it back in a form of its own. Authentication, limits, owner checks, replays,
errors of the edge and the event log come with the house; the toy has not a word about them.
"""

import io
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from core.caller import Caller
from core.errors import HubError, NotFound
from core.platform import Platform
from core.tasks.read import GetTask, get_task
from core.tasks.submit import SubmitTask, submit
from hub.app import Door, build
from hub.secret_file import hub_secret
from hub.server import Serving
from hub.settings import Settings

ADMIN = "toy-" + secrets.token_urlsafe(24)


# The toy's folder: wire in and out, and its door.


def render_error(_scope: object, error: HubError) -> Response:
    """The toy's form of a refusal."""
    return PlainTextResponse(f"no {error.code.value}\n", 400)


def routes(platform: Platform) -> Sequence[BaseRoute]:
    """`POST /toy` takes a line and answers an id; `GET /toy/{id}` answers a state."""

    def caller(request: Request) -> Caller:
        found: Caller = request.scope["state"]["caller"]
        return replace(found, replay_key=request.headers.get("idempotency-key"))

    async def send(request: Request) -> Response:
        line = (await request.body()).decode()
        task = await platform.write(caller(request), submit, SubmitTask(line, parts=[{"text": line}]))
        return PlainTextResponse(f"{task.id}\n")

    async def read(request: Request) -> Response:
        try:
            query = GetTask(UUID(request.path_params["id"]))
            task = await platform.read(caller(request), get_task, query)
        except NotFound as error:
            return render_error(request.scope, error)
        return PlainTextResponse(f"{task.state.wire}\n")

    return [Route("/toy", send, methods=["POST"]), Route("/toy/{id}", read)]


def door(platform: Platform) -> Door:
    """The one line in `hub/app.py` would name this."""
    return Door(routes(platform), owns=lambda path: path.startswith("/toy"), render=render_error)


# Its tests.


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a hub with the toy's door."""
    settings = Settings.from_env(
        {
            "CROSSDOCK_DATABASE_URL": f"sqlite:///{tmp_path / 'hub.db'}",
            "CROSSDOCK_ADMIN_API_KEY": ADMIN,
            "CROSSDOCK_SECRET_KEY": secrets.token_urlsafe(48),
        }
    )
    app = build(settings, hub_secret(settings), further=[door])
    async with Serving(app.asgi, port=0, stopping=app.stopping) as serving:
        yield serving.url


async def test_a_toy_protocol_needs_a_door_and_nothing_else(hub: str) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}", "Idempotency-Key": "once"}
    async with aiohttp.ClientSession(hub, headers=headers) as session:
        first = await (await session.post("/toy", data="say hello")).text()
        again = await (await session.post("/toy", data="say hello")).text()
        state = await (await session.get(f"/toy/{first.strip()}")).text()
        task = await (await session.get(f"/api/v1/tasks/{first.strip()}")).json()
    assert first == again, "one replay key, one task"
    assert state == "ready\n"
    assert task["data"]["input"]["text"] == "say hello", "the same task on REST"


async def test_the_house_refuses_for_the_toy_and_in_its_form(hub: str) -> None:
    async with aiohttp.ClientSession(hub) as session:
        nobody = await session.post("/toy", data="hi")
        assert (nobody.status, await nobody.text()) == (400, "no UNAUTHORIZED\n")
        key = {"Authorization": f"Bearer {ADMIN}"}
        missing = await session.get(f"/toy/{UUID(int=7)}", headers=key)
        assert (missing.status, await missing.text()) == (400, "no NOT_FOUND\n")
        large = await session.post("/toy", data=io.BytesIO(b"x" * (11 * 1024 * 1024)), headers=key)
        assert (large.status, await large.text()) == (400, "no PAYLOAD_TOO_LARGE\n")
