"""The token of a task: who gets it, what it makes of its bearer, and when it ends."""

from dataclasses import replace
from uuid import uuid4

import pytest

from core.errors import HubError, Unprocessable
from core.exchange import Exchange
from core.gateway.task_tokens import ClaimCredentials, handle_of
from core.keyring import Keyring
from core.tokens import InvalidToken, TokenKind
from schemas.vocabulary import Scope
from tests.core.gateway.conftest import Gateway
from tests.core.tasks.stage import Stage

URL = "https://hub.example.com"


def exchange_on(stage: Stage) -> Exchange:
    return Exchange(stage.platform, Keyring("a secret of thirty-two bytes, at least"), URL)


async def test_it_makes_its_bearer_the_agent_of_the_task(gateway: Gateway) -> None:
    stage, exchange = gateway.stage, exchange_on(gateway.stage)
    agent, task, lease_id = await stage.started()
    for holder in (agent, stage.admin):
        command = ClaimCredentials(task.id, handle_of(lease_id), lease_id)
        token = (await exchange.open_task(holder, command)).token.text
        bearer = await exchange.prove_task(token)
        assert (bearer.principal_id, bearer.tenant_id) == (agent.principal_id, agent.tenant_id)
        assert (bearer.task_id, bearer.lease_id, bearer.scope) == (task.id, lease_id, Scope.AGENT)
        for kind in (TokenKind.ACCESS, TokenKind.REFRESH):
            with pytest.raises(InvalidToken):
                exchange.read(kind, token)
    told = [kind for kind, _ in await stage.told(task.id)]
    assert told.count("task.credentials_claimed") == 2


async def test_nobody_else_gets_it(gateway: Gateway) -> None:
    stage, exchange = gateway.stage, exchange_on(gateway.stage)
    _, task, lease_id = await stage.started()
    command = ClaimCredentials(task.id, handle_of(lease_id))
    for other in (await stage.agent("eve"), stage.user, replace(stage.admin, tenant_id=uuid4())):
        with pytest.raises(HubError):
            await exchange.open_task(other, command)
    for handle in ("gateway:", "x", f"other:{lease_id}", handle_of(uuid4())):
        with pytest.raises(HubError):
            await exchange.open_task(stage.admin, ClaimCredentials(task.id, handle))
    with pytest.raises(Unprocessable):
        await exchange.open_task(stage.admin, replace(command, lease_id=uuid4()))


@pytest.mark.parametrize("end", ["complete", "cancel", "run out"])
async def test_it_ends_with_the_lease(gateway: Gateway, end: str) -> None:
    stage, exchange = gateway.stage, exchange_on(gateway.stage)
    agent, task, lease_id = await stage.started()
    token = (await exchange.open_task(agent, ClaimCredentials(task.id, handle_of(lease_id)))).token.text
    assert (await exchange.prove_task(token)).task_id == task.id
    if end == "complete":
        await stage.complete(agent, task.id, lease_id)
    elif end == "cancel":
        await stage.cancel(task.id)
    else:
        stage.clock.advance(61)
    with pytest.raises(InvalidToken):
        await exchange.prove_task(token)
    with pytest.raises(HubError):
        await exchange.open_task(agent, ClaimCredentials(task.id, handle_of(lease_id)))


async def test_a_parked_task_has_none(gateway: Gateway) -> None:
    stage, exchange = gateway.stage, exchange_on(gateway.stage)
    agent, task, lease_id = await stage.started()
    token = (await exchange.open_task(agent, ClaimCredentials(task.id, handle_of(lease_id)))).token.text
    await stage.ask(agent, task.id, lease_id)
    with pytest.raises(InvalidToken):
        await exchange.prove_task(token)
