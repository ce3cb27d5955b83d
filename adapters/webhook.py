"""Sends the hub's notifications: one POST over the guarded client, and what came of it as a class.

Whatever is notified about (A2A push, webhooks) goes through here. The address is judged again at every
request. Nothing is retried here, and no answer is read beyond its status.
"""

import logging

from yarl import URL

from adapters.outbound import WEBHOOK, Failure, Outbound, OutboundError
from core.egress import Blocked
from core.ports import Address, Outgoing, Sent

logger = logging.getLogger("crossdock.webhook")


class WebhookSender:
    """`core.ports.Sender` and `core.ports.Receivers` over HTTP."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def admit(self, url: str) -> Address:
        """Judge the URL, and the addresses of its host; a name that cannot be looked up now is taken.

        Raises:
            BadTarget, Blocked: as `core.ports.Receivers`.
        """
        target = self._outbound.check(url)
        try:
            await self._outbound.resolve(target.raw_host or "", target.port or 443)
        except OutboundError as error:
            if error.failure is Failure.BLOCKED:
                raise Blocked("its host has an address that is not called") from error
        return Address(str(target), str(target.origin()))

    async def send(self, outgoing: Outgoing) -> Sent:
        """POST; a redirect is an answer like any other, and no success."""
        try:
            answer = await self._outbound.fetch(
                "POST", outgoing.url, purpose=WEBHOOK, headers=outgoing.headers, data=outgoing.body
            )
        except OutboundError as error:
            if error.failure is Failure.BLOCKED:
                logger.warning("a notification was not sent: %s is not called", URL(outgoing.url).origin())
            return Sent(status=error.status, failure=error.failure.value)
        return Sent(status=answer.status)
