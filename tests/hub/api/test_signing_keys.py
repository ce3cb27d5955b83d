"""Signing keys over REST, and the key set that everybody reads."""

from uuid import uuid4

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub

PATH, KEYS = "/signing-keys", "/.well-known/jwks.json"


async def kids(hub: Hub) -> list[str]:
    """The ids of the published keys, as anybody reads them."""
    return [key["kid"] for key in (await hub.send("GET", KEYS, key=None)).json["keys"]]


async def test_a_hub_has_a_key_from_its_first_start_and_keys_rotate(hub: Hub) -> None:
    [first] = (await hub.get(PATH)).data
    assert (first["is_active"], first["retired_at"], await kids(hub)) == (True, None, [first["kid"]])
    made = await hub.post(PATH, {"request_id": "once"})
    again = await hub.post(PATH, {"request_id": "once"})
    assert (made.status, again.data) == (201, made.data)
    assert await kids(hub) == [made.data["kid"], first["kid"]]
    card = (await hub.send("GET", "/.well-known/agent-card.json", key=None)).json
    assert len(card["signatures"]) == 2
    assert (await hub.send("DELETE", f"/api/v1{PATH}/{first['id']}")).status == 204
    assert await kids(hub) == [made.data["kid"]]
    assert (await hub.send("DELETE", f"/api/v1{PATH}/{first['id']}")).status == 404
    only = await hub.send("DELETE", f"/api/v1{PATH}/{made.data['id']}")
    assert (only.status, only.reason) == (409, "last_key")
    assert [key["is_active"] for key in (await hub.get(PATH)).data] == [True, False]
    async with hub.stream("/events/stream?after=0&entity_type=signing_key") as stream:
        text = await stream.until("signing_key.retired")
    assert "PRIVATE" not in text


async def test_only_admins_see_and_change_them_and_a_tenant_its_own(hub: Hub) -> None:
    for scope in (Scope.AGENT, Scope.WORKER):
        key = await hub.key(scope)
        assert (await hub.get(PATH, key=key)).status == 403
        assert (await hub.post(PATH, key=key)).status == 403
    elsewhere = await hub.key(Scope.ADMIN, tenant_id=uuid4())
    [own] = (await hub.get(PATH)).data
    assert (await hub.get(PATH, key=elsewhere)).data == []
    for id in (own["id"], UNLIKELY):
        assert (await hub.send("DELETE", f"/api/v1{PATH}/{id}", key=elsewhere)).status == 404
    theirs = (await hub.post(PATH, key=elsewhere)).data
    assert await kids(hub) == [theirs["kid"], own["kid"]], "one key set for the cards of all"
    card = (await hub.send("GET", "/.well-known/agent-card.json", key=None)).json
    assert len(card["signatures"]) == 1, "the hub's own card is not theirs to sign"
