"""What the registry gives to OAuth: the parameters that go into its requests, and a look at a server once the
hub is let in.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from adapters.mcp.oauth.engine import RequestExtras
from adapters.mcp.oauth.tokens import Extras
from core.caller import SYSTEM
from core.errors import NotFound
from core.mcp.ports import Servers, Value
from core.mcp.records import ServerId, open_server
from core.mcp.verification import reverify_server
from core.mcp.words import Placement
from core.platform import Platform


class RegistryGives:
    """The registry, as OAuth sees it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.servers: Servers | None = None
        """Who looks at servers; it looks with the hub's credentials, and so is made after them."""

    async def extras(self, tenant_id: UUID, server_id: UUID) -> RequestExtras:
        """The parameters of a server that go to its authorization server."""
        try:
            known = await self._platform.read(SYSTEM(tenant_id), open_server, ServerId(server_id))
        except NotFound:
            return RequestExtras()
        values = list(known.values.values())
        return RequestExtras(
            tuple(_at(Placement.AUTHORIZE_REQUEST_QUERY, values).items()),
            Extras(
                tuple(_at(Placement.DEVICE_REQUEST_QUERY, values).items()),
                _at(Placement.DEVICE_REQUEST_HEADER, values),
                _at(Placement.DEVICE_REQUEST_BODY_FORM, values),
                _at(Placement.DEVICE_REQUEST_BODY_JSON, values),
            ),
            Extras(
                tuple(_at(Placement.TOKEN_REQUEST_QUERY, values).items()),
                _at(Placement.TOKEN_REQUEST_HEADER, values),
                _at(Placement.TOKEN_REQUEST_BODY_FORM, values),
                _at(Placement.TOKEN_REQUEST_BODY_JSON, values),
            ),
        )

    async def connected(self, tenant_id: UUID, server_id: UUID) -> None:
        """Look at a server that lets the hub in now.

        Raises:
            NotFound: it was removed meanwhile.
        """
        if self.servers is not None:
            await reverify_server(self._platform, SYSTEM(tenant_id), self.servers, ServerId(server_id))


def _at(placement: Placement, values: Sequence[Value]) -> Mapping[str, str]:
    return {value.key: value.text.reveal() for value in values if value.placement is placement}
