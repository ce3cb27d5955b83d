"""How connections and flows move, as data. A move that is not here does not exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from schemas.oauth import ConnectionState, FlowState

S = TypeVar("S", ConnectionState, FlowState)


@dataclass(frozen=True)
class Arc(Generic[S]):
    """One move: where it leads, and from where."""

    target: S
    sources: frozenset[S]


class ConnectionMove(StrEnum):
    """How a connection changes."""

    CONNECT = "connect"
    REFUSE = "refuse"
    DISCONNECT = "disconnect"


class FlowMove(StrEnum):
    """How a flow goes on."""

    WAIT = "wait"
    RECEIVE = "receive"
    COMPLETE = "complete"
    FAIL = "fail"
    EXPIRE = "expire"
    CANCEL = "cancel"


_C, _F = ConnectionState, FlowState
CONNECTION: Final[Mapping[ConnectionMove, Arc[ConnectionState]]] = MappingProxyType(
    {
        ConnectionMove.CONNECT: Arc(_C.CONNECTED, frozenset(_C)),
        ConnectionMove.REFUSE: Arc(_C.NEEDS_REAUTH, frozenset({_C.CONNECTED})),
        ConnectionMove.DISCONNECT: Arc(_C.DISCONNECTED, frozenset(_C)),
    }
)
_OPEN: Final = frozenset({_F.PREPARING, _F.WAITING, _F.EXCHANGING})
FLOW: Final[Mapping[FlowMove, Arc[FlowState]]] = MappingProxyType(
    {
        FlowMove.WAIT: Arc(_F.WAITING, frozenset({_F.PREPARING})),
        FlowMove.RECEIVE: Arc(_F.EXCHANGING, frozenset({_F.WAITING})),
        # Without a browser there is nothing to receive: the token comes at once, or when the device is asked.
        FlowMove.COMPLETE: Arc(_F.COMPLETED, _OPEN),
        FlowMove.FAIL: Arc(_F.FAILED, _OPEN),
        FlowMove.EXPIRE: Arc(_F.EXPIRED, _OPEN),
        FlowMove.CANCEL: Arc(_F.CANCELLED, _OPEN),
    }
)
