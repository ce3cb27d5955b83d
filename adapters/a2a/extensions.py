"""The extensions of A2A that the hub declares on its cards, and looks for on those of others.

A call activates those of them that it names; its answer says which (specification §4.6).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from adapters.a2a.errors import EXTENSION_REQUIRED, A2AError
from adapters.a2a.version import LEGACY

IDEMPOTENCY: Final = "urn:crossdock:a2a:idempotency:v1"
"""A send that brings the header `Idempotency-Key` happens once, however often it is repeated."""
RESUME: Final = "urn:crossdock:a2a:resume:v1"
"""A stream goes on after the event that the header `Last-Event-ID` names."""
HITL: Final = "https://kagent.dev/extensions/hitl/v1"
"""Questions and requests for leave as data, and their answers (`hitl.py`)."""

AGENTS: Final = "urn:crossdock:a2a:agents:v1"
"""On the extended card of the hub: the agents that its reader may address."""

DECLARED: Final[tuple[dict[str, Any], ...]] = (
    {
        "uri": IDEMPOTENCY,
        "description": "A send repeated with the same Idempotency-Key header happens once.",
    },
    {
        "uri": RESUME,
        "description": "Every event of a stream over HTTP has an id. SubscribeToTask with the header "
        "Last-Event-ID, or the same SendStreamingMessage with that and its Idempotency-Key, goes on after "
        "it: what was missed comes once and in order, without the task in front.",
    },
    {
        "uri": HITL,
        "description": "What a task waits for is told as ask_user_request or tool_approval_request, and "
        "answered by the response of the same name.",
    },
)
"""As a card's `capabilities.extensions` lists them."""
_URIS: Final = tuple(extension["uri"] for extension in DECLARED)


def declared_with(required: Sequence[str]) -> list[dict[str, Any]]:
    """The extensions of a card whose agent insists on some."""
    ours = [{**one, "required": True} if one["uri"] in required else one for one in DECLARED]
    return [*ours, *({"uri": uri, "required": True} for uri in required if uri not in _URIS)]


def directory_of(agents: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The extension that lists the agents of the hub; one can be addressed by its card, or by its slug as the
    tenant of a request."""
    return {
        "uri": AGENTS,
        "description": "The agents behind this hub that may be addressed, each with a card of its own.",
        "params": {"agents": [dict(agent) for agent in agents]},
    }


def check_required(named: Iterable[str], required: Sequence[str]) -> None:
    """Refuse a call that does not name what its agent insists on (specification §3.3.4).

    Raises:
        A2AError: ExtensionSupportRequired.
    """
    missing = [uri for uri in required if uri not in named]
    if missing:
        raise A2AError(
            EXTENSION_REQUIRED,
            f"This agent requires extensions; name them in A2A-Extensions: {', '.join(missing)}.",
            metadata={"requiredExtensions": ",".join(missing)},
        )


def activated(named: Iterable[str], required: Sequence[str], protocol_version: str) -> dict[str, str]:
    """The service parameter that tells which extensions a call activated; nothing when there are none."""
    active = [uri for uri in dict.fromkeys((*_URIS, *required)) if uri in named]
    if not active:
        return {}
    name = "X-A2A-Extensions" if protocol_version == LEGACY else "A2A-Extensions"
    return {name: ", ".join(active)}
