"""`hub.keys`: API keys, for whoever holds an admin's."""

from typing import Any

from hub.client.transport import Transport


class Keys:
    """`hub.keys`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        *,
        scope: str,
        owner_type: str = "user",
        owner_id: str | None = None,
        label: str | None = None,
        expires_at: str | None = None,
    ) -> str:
        """Make a key and return it, this once. Keys of one owner see the same objects.

        Raises:
            Forbidden: only an admin makes keys.
        """
        body: dict[str, Any] = {"scope": scope, "owner_type": owner_type}
        given = {"owner_id": owner_id, "label": label, "expires_at": expires_at}
        body |= {name: value for name, value in given.items() if value is not None}
        reply = await self._transport.call("POST", "/api-keys", body)
        return str(reply.data["api_key"])
