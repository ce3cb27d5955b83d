"""A remote agent is believed after a look at its card: the flows around `remote_agents.py` that fetch it.

The look happens before the transaction and is no part of what makes two calls equal: a repeat with the same
replay key gets the first result, whatever the card says by then.
"""

from core.caller import Caller
from core.platform import Platform
from core.ports import CardRefused, Cards, CardWanted
from core.remote_agents import (
    Add,
    Change,
    ChangeRemote,
    Looked,
    RegisterRemote,
    Reverified,
    add,
    change,
    reverified,
)
from core.remote_records import OpenRemote, RemoteAgent, RemoteId, open_remote
from core.sealing import Secret
from core.store.engine import Outcome
from core.store.replay import Beside


async def look(cards: Cards, wanted: CardWanted) -> Beside[Looked]:
    """What a card says, or why there is none; for the command that decides what follows from it."""
    try:
        return Beside(await cards.look(wanted))
    except CardRefused as refused:
        return Beside(refused)


async def register_remote(
    platform: Platform, caller: Caller, cards: Cards, wanted: RegisterRemote
) -> Outcome[RemoteAgent]:
    """Verify an agent by its card, and register it. Raises as `add`."""
    secret = None if wanted.auth.secret is None else Secret(wanted.auth.secret)
    asked = CardWanted(
        wanted.card_url, wanted.approved_origins, wanted.trusted_keys, wanted.auth.settings, secret
    )
    return await platform.write_once(caller, add, Add(wanted, await look(cards, asked)))


async def change_remote(
    platform: Platform, caller: Caller, cards: Cards, wanted: ChangeRemote
) -> Outcome[RemoteAgent]:
    """Change a remote agent; what was verified is verified again first. Raises as `change`."""
    looked: Beside[Looked | None] = Beside(None)
    if wanted.verifies:
        known = await platform.read(caller, open_remote, RemoteId(wanted.remote_agent_id))
        looked = Beside((await look(cards, _merged(known, wanted))).value)
    return await platform.write_once(caller, change, Change(wanted, looked))


async def reverify_remote(
    platform: Platform, caller: Caller, cards: Cards, wanted: RemoteId
) -> Outcome[RemoteAgent]:
    """Fetch the card again and note what comes of it.

    Raises:
        NotFound: no such remote agent.
    """
    known = await platform.read(caller, open_remote, wanted)
    looked = await look(cards, _merged(known, ChangeRemote(wanted.remote_agent_id)))
    return await platform.write_once(caller, reverified, Reverified(wanted.remote_agent_id, looked))


def _merged(known: OpenRemote, wanted: ChangeRemote) -> CardWanted:
    agent = known.agent
    auth, secret = agent.auth, known.secret
    if wanted.auth is not None:
        auth = wanted.auth.settings
        secret = None if wanted.auth.secret is None else Secret(wanted.auth.secret)
    return CardWanted(
        agent.card_url if wanted.card_url is None else wanted.card_url,
        agent.approved_origins if wanted.approved_origins is None else wanted.approved_origins,
        agent.trusted_keys if wanted.trusted_keys is None else wanted.trusted_keys,
        auth,
        secret,
    )
