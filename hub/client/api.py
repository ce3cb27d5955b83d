"""`Crossdock`: one hub, one key, and everything that can be asked of it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hub.client.agents import Agents, Approvals
from hub.client.events import Events
from hub.client.hosting import Hostings
from hub.client.keys import Keys
from hub.client.tasks import Tasks
from hub.client.transport import Transport
from hub.client.turns import Turns
from hub.client.workflows import Playbooks, Workflows

DEFAULT_URL = "http://127.0.0.1:8080"


class Crossdock:
    """A client of one hub, to be used as `async with Crossdock() as hub`.

    What is not given comes from the environment: `CROSSDOCK_URL`, and `CROSSDOCK_API_KEY` or the file that
    `CROSSDOCK_API_KEY_FILE` names. Calls that may be repeated are repeated for `retry_seconds` when the hub
    does not answer. `on_reach` is told when the hub goes away (False) and when it is back (True).
    """

    tasks: Tasks
    agents: Agents
    approvals: Approvals
    turns: Turns
    keys: Keys
    events: Events
    playbooks: Playbooks
    workflows: Workflows
    hostings: Hostings

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        retry_seconds: float = 30.0,
        user_agent: str = "crossdock-client",
        on_reach: Callable[[bool], None] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.url = url or environ.get("CROSSDOCK_URL") or DEFAULT_URL
        self._api_key = api_key or key_of(environ)
        self._retry_seconds = retry_seconds
        self._user_agent = user_agent
        self._on_reach = on_reach
        self._transport: Transport | None = None

    async def __aenter__(self) -> Self:
        self._transport = transport = Transport(
            self.url,
            self._api_key,
            retry_seconds=self._retry_seconds,
            user_agent=self._user_agent,
            on_reach=self._on_reach,
        )
        self.events = Events(transport)
        self.tasks = Tasks(transport, self.events)
        self.playbooks = Playbooks(transport)
        self.workflows = Workflows(transport, self.events)
        self.agents = Agents(transport)
        self.approvals = Approvals(transport)
        self.turns = Turns(transport)
        self.keys = Keys(transport)
        self.hostings = Hostings(transport)
        return self

    async def me(self) -> Mapping[str, Any]:
        """Whose key this is, and what it may do: `scope`, `owner_type`, `owner_id`, …"""
        assert self._transport is not None, "use it as `async with Crossdock() as hub`"
        data: Mapping[str, Any] = (await self._transport.call("GET", "/auth/me")).data
        return data

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            await self._transport.close()


def key_of(environ: Mapping[str, str]) -> str | None:
    """The key that the environment names, directly or through a file.

    Raises:
        OSError: the file that it names cannot be read.
    """
    if key := environ.get("CROSSDOCK_API_KEY"):
        return key
    path = environ.get("CROSSDOCK_API_KEY_FILE")
    return Path(path).read_text().strip() if path else None
