"""What a webhook says: one event as REST tells it, signed as Standard Webhooks asks.

See https://www.standardwebhooks.com: `webhook-id` stays the same over retries, the timestamp is that of the
attempt, and while a secret is being replaced both sign.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic_core import to_json
from standardwebhooks import Webhook

from core.caller import SYSTEM
from core.history import event_at
from core.platform import Platform
from core.ports import Due, NoTarget, Outgoing
from core.sealing import Unsealable
from core.webhook_targets import open_webhook
from hub.api import rendering

_CONTENT_TYPE: Final = "application/json"


class WebhookComposer:
    """`core.ports.Composer` of webhooks. `now` is the time that receivers compare with their own."""

    def __init__(self, platform: Platform, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._platform = platform
        self._now = now

    async def compose(self, due: Due) -> Sequence[Outgoing]:
        """The one request of a delivery.

        Raises:
            NoTarget: the webhook, its secret or the event is gone, or it is not active any more.
            Unavailable: the database is away.
        """
        hub = SYSTEM(due.tenant_id)
        try:
            target = await self._platform.read(hub, open_webhook, due.target_id)
        except Unsealable as error:
            raise NoTarget("secret") from error
        event = await self._platform.read(hub, event_at, due.pos)
        if target is None or event is None:
            raise NoTarget("no_target" if target is None else "no_event")
        if not target.is_active:
            raise NoTarget("inactive")
        told = rendering.event(event)
        body = to_json(
            {
                "type": event.kind,
                "timestamp": told["created_at"],
                "pos": event.pos,
                "version": event.version,
                "data": told,
            }
        )
        name, at = str(due.id), self._now()
        signatures = [Webhook(s.reveal()).sign(name, at, body.decode()) for s in target.secrets]
        headers = {
            "Content-Type": _CONTENT_TYPE,
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        return [Outgoing(target.url, headers, body)]
