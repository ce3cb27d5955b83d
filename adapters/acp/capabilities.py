"""What each side says it can, and what the hub therefore may send. Pure.

A capability that is absent or null is not there; `{}` says that it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from adapters.acp.errors import invalid
from schemas.acp import PROTOCOL_VERSION

_NEWEST: Final = 65_535
"""A protocol version is a u16 in the reference; 0 is its pre-release."""


@dataclass(frozen=True, slots=True)
class ClientCapabilities:
    """What the client can, as far as the hub asks for it."""

    elicitation_form: bool = False
    elicitation_url: bool = False
    boolean_options: bool = False
    notices: bool = False
    compaction: bool = False
    subagents: bool = False
    terminal_login: bool = False

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "ClientCapabilities":
        """What `initialize` says. What cannot be read counts as absent."""
        said = _at(params, "clientCapabilities")
        session, elicitation = _at(said, "session"), _at(said, "elicitation")
        return cls(
            elicitation_form=_has(elicitation, "form"),
            elicitation_url=_has(elicitation, "url"),
            boolean_options=_has(_at(session, "configOptions"), "boolean"),
            notices=_has(session, "notices"),
            compaction=_has(session, "compaction"),
            subagents=_has(said, "subagents"),
            terminal_login=_has(_at(said, "auth"), "terminal"),
        )

    def takes(self, kind: str) -> bool:
        """Whether the client wants updates of this kind. Those of no known kind go to everybody."""
        needed = _OPT_IN.get(kind)
        return needed is None or bool(getattr(self, needed))


_OPT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "notice": "notices",
        "compaction_update": "compaction",
        "compaction_summary_chunk": "compaction",
        "subagent_update": "subagents",
        "session_message": "subagents",
        "session_message_chunk": "subagents",
    }
)


def _at(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = said.get(name)
    return found if isinstance(found, Mapping) else {}


def _has(said: Mapping[str, Any], name: str) -> bool:
    found = said.get(name)
    return found is True or isinstance(found, Mapping)


def negotiated(params: Mapping[str, Any]) -> int:
    """The version that the connection speaks: the client's where the hub has it, else the hub's.

    Raises:
        RpcError: the client names none.
    """
    wanted = params.get("protocolVersion")
    if wanted == "1":
        return PROTOCOL_VERSION  # clients in the wild send a string; it can mean nothing else
    if type(wanted) is not int or not 0 <= wanted <= _NEWEST:
        raise invalid("protocolVersion", "must be an integer")
    return PROTOCOL_VERSION
