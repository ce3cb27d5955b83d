"""A program that a worker runs, as a server: a channel to it, through the worker and the database."""

import asyncio
import contextlib
from typing import Final
from uuid import UUID

from adapters.mcp.upstream.duplex import DuplexSession
from adapters.mcp.upstream.failures import Unreachable
from adapters.mcp.upstream.interface import Client, OnMessage, Target
from core.caller import SYSTEM
from core.errors import HubError
from core.mcp.channels import FrameKind, Hear, Say, for_session, hear, open_channel, say
from core.mcp.records import ServerId
from core.mcp.words import VerifiedTransport
from core.platform import Platform

LOOK_SECONDS: Final = 5.0
"""Between two looks, should nobody wake us: whether the host is still there, too."""


class HostedChannel:
    """The way to one program."""

    def __init__(self, platform: Platform, tenant_id: UUID, channel_id: UUID) -> None:
        self._platform = platform
        self._caller = SYSTEM(tenant_id)
        self._channel_id = channel_id
        self._hearing: asyncio.Task[None] | None = None

    def attach(self, session: DuplexSession) -> None:
        """Hand what the program says to a session from now on."""
        self._hearing = asyncio.create_task(self._hear(session), name=f"hosted {self._channel_id}")

    async def send(self, message: bytes) -> None:
        """Give a message to the program."""
        said = Say(self._channel_id, FrameKind.MESSAGE, message.decode())
        try:
            await self._platform.write(self._caller, say, said)
        except HubError as error:
            raise Unreachable(error.message) from error

    async def close(self) -> None:
        """Have the program ended."""
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
        with contextlib.suppress(HubError):  # its host ends what nobody needs
            await self._platform.write(self._caller, say, Say(self._channel_id, FrameKind.CLOSE))

    async def _hear(self, session: DuplexSession) -> None:
        while True:
            with self._platform.hints.listen([for_session(self._channel_id)]) as woken:
                try:
                    heard = await self._platform.write(self._caller, hear, Hear(self._channel_id))
                except HubError as error:
                    session.lost(Unreachable(error.message))
                    return
                for message in heard.messages:
                    await session.received(message.encode())
                if heard.ended is not None:
                    session.lost(Unreachable(heard.ended))
                    return
                if not heard.messages:
                    await woken.wait(LOOK_SECONDS)


async def open_hosted(
    platform: Platform, tenant_id: UUID, target: Target, client: Client, on_message: OnMessage | None
) -> DuplexSession:
    """A session with a program that is run for it alone.

    Raises:
        RpcError, UpstreamError: there is none.
    """
    try:
        channel_id = await platform.write(SYSTEM(tenant_id), open_channel, ServerId(target.server_id))
    except HubError as error:
        raise Unreachable(error.message) from error
    channel = HostedChannel(platform, tenant_id, channel_id)
    session = DuplexSession(
        channel,
        client,
        VerifiedTransport.STDIO,
        seconds=target.seconds,
        initialize=target.initialize,
        on_message=on_message,
    )
    channel.attach(session)
    try:
        await session.open()
    except BaseException:
        await session.close()
        raise
    return session
