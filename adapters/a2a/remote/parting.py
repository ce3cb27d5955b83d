"""Takes leave of a remote task that nobody here waits for any more: it is cancelled over there, too."""

from adapters.a2a.remote.compose import message_id_of
from adapters.a2a.remote.failures import Refused, RemoteError
from adapters.a2a.remote.peer import Peer, logger
from core.caller import SYSTEM
from core.delegations import Delegation, Drop, LookAgain, drop, look_again
from schemas.vocabulary import DelegationState, Health

_AGAIN, _SOON = 15.0, 5.0
_UNKNOWN = "the task was given up while it was being sent; the remote agent may have it"


async def part(peer: Peer, delegation: Delegation, reason: str | None = None) -> bool:
    """Cancel what runs at the remote agent, and end the delegation. False: it is tried again later.

    Safe to repeat: a task that is final or gone over there needs nothing.
    """
    platform, system = peer.platform, SYSTEM(delegation.tenant_id)
    if (
        peer.agent.is_active and peer.agent.health is Health.UNREACHABLE
    ):  # its probe finds out when it is back
        await platform.write(system, look_again, LookAgain(delegation.id, _SOON))
        return False
    try:
        lost = await _cancel(peer, delegation, reason)
    except RemoteError as error:
        await peer.ill(error)
        logger.info("remote task of delegation %s is not cancelled yet: %s", delegation.id, error)
        await platform.write(system, look_again, LookAgain(delegation.id, _AGAIN))
        return False
    await platform.write(system, drop, Drop(delegation.id, lost))
    return True


async def _cancel(peer: Peer, delegation: Delegation, reason: str | None) -> str | None:
    """Cancel, as far as it can be; why it is unknown whether anything is left, if it is."""
    if delegation.state is DelegationState.UNSENT:
        return None
    task_id = delegation.remote_task_id
    if task_id is None:
        if delegation.context_id is None or delegation.sending_n is None:
            return _UNKNOWN
        sent = message_id_of(delegation.id, delegation.sending_n)
        try:
            found = await peer.client.find(delegation.context_id, sent)
        except Refused:
            return _UNKNOWN
        if found is None:
            return _UNKNOWN
        task_id = found.id
    try:
        await peer.client.cancel(task_id, reason)
    except Refused as refused:
        # It is final or gone already, or it cannot be cancelled: either way nothing more can be done.
        logger.info("remote task of delegation %s was not cancelled: %s", delegation.id, refused)
    return None
