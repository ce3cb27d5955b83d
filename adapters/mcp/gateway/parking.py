"""Calls that wait for their client: it hears questions in results, and the server asks over the wire.

While the server waits, its call goes on here, and the client holds a state that names it: it cannot be
guessed, is bound to whoever called and to what was called, and is good once. The call lives in this process:
what another one is asked to go on with has to be called again.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from adapters.mcp.errors import McpError, invalid
from adapters.mcp.exchange import Result

PARKED_SECONDS: Final = 600.0
"""How long a server may be kept waiting for an answer of a client."""
MOST: Final = 1_000
_PREFIX: Final = "hub.park."


@dataclass(eq=False)
class Parked:
    """One call that goes on, and what its server has asked and was not answered yet."""

    owner: tuple[UUID, UUID | None]
    """The principal, and the task whose token it had."""
    digest: str
    """Of what was called."""
    work: "asyncio.Task[Result]"
    asked: dict[str, tuple[str, Mapping[str, Any], "asyncio.Future[Mapping[str, Any]]"]] = field(
        default_factory=dict
    )
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let the client be asked, and wait for its answer.

        Raises:
            McpError: it has refused, or was not heard of for too long.
        """
        key = f"{method.partition('/')[0]}-{secrets.token_hex(4)}"
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.asked[key] = (method, params, future)
        self.news.set()
        try:
            async with asyncio.timeout(PARKED_SECONDS):
                return await future
        except TimeoutError:
            raise McpError(-32001, "The client has not answered.") from None
        finally:
            self.asked.pop(key, None)


class Parking:
    """The calls of this process that wait for their clients."""

    def __init__(self) -> None:
        self._parked: dict[str, Parked] = {}

    async def outcome(self, parked: Parked) -> Result:
        """What became of a call: its result, or what it asks the client.

        Raises:
            Exception: as the call.
        """
        try:
            while not parked.work.done():
                parked.news.clear()
                open = [key for key, (_, _, future) in parked.asked.items() if not future.done()]
                if open:
                    return self._asking(parked, open)
                news = asyncio.ensure_future(parked.news.wait())
                try:
                    await asyncio.wait({parked.work, news}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()
        except asyncio.CancelledError:
            parked.work.cancel()
            raise
        return parked.work.result()

    def take(self, state: object, owner: tuple[UUID, UUID | None], digest: str) -> Parked | None:
        """The call that a state stands for; None for a state that is none of the hub's.

        Raises:
            McpError: it is over, somebody else's, or another call's.
        """
        if type(state) is not str or not state.startswith(_PREFIX):
            return None
        parked = self._parked.get(state)
        if parked is None or parked.owner != owner or parked.digest != digest:
            raise invalid("requestState is not of this call, was used before, or has run out: call again.")
        del self._parked[state]
        return parked

    def answer(self, parked: Parked, responses: object) -> None:
        """Hand the client's answers on. What was not answered is asked again.

        Raises:
            McpError: they cannot be read.
        """
        if type(responses) is not dict:
            raise invalid("inputResponses must be an object.")
        for key, response in responses.items():
            found = parked.asked.get(key)
            if found is None or found[2].done():
                continue
            if type(response) is not dict:
                raise invalid(f"inputResponses.{key[:60]} must be an object.")
            found[2].set_result(response)

    async def close(self) -> None:
        """Let nobody wait any more."""
        works = [parked.work for parked in self._parked.values()]
        self._parked.clear()
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    def _asking(self, parked: Parked, keys: list[str]) -> Result:
        while len(self._parked) >= MOST:
            self._parked.pop(next(iter(self._parked))).work.cancel()
        state = _PREFIX + secrets.token_urlsafe(32)
        self._parked[state] = parked
        parked.work.add_done_callback(lambda _: self._parked.pop(state, None))
        asked = {key: {"method": parked.asked[key][0], "params": dict(parked.asked[key][1])} for key in keys}
        return {"resultType": "input_required", "inputRequests": asked, "requestState": state}
