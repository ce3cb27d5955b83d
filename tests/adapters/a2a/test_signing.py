"""Cards are signed so that official clients and ours can check them; keys rotate. Specification §8.4."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from a2a.client import A2ACardResolver
from a2a.types import a2a_pb2
from a2a.utils.signing import InvalidSignaturesError, NoSignatureError, create_signature_verifier
from jwt import PyJWK, PyJWKClientError, PyJWKSet

from adapters.a2a.remote.signatures import judge, keys_of
from core.base64url import decode
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM
from core.exposures import Expose, Target, expose
from core.platform import Platform
from core.ports import CardRefused, Signature
from core.signing_keys import NewSigningKey, SigningKeyId, retire, rotate, signing
from schemas.vocabulary import ExposureKind
from tests.adapters.a2a.support import PUBLIC, TENANT

CARD, KEYS = "/.well-known/agent-card.json", "/.well-known/jwks.json"
EXPOSED = f"/agents/tr{CARD}"


@pytest.fixture
async def exposed(platform: Platform) -> None:
    """An exposed role whose words are not all ASCII."""
    skill = {"id": "t", "name": "Übersetzen", "description": "日本語 → Français", "tags": ["é"]}
    target = Target(ExposureKind.ROLE, "translator")
    await platform.write(
        SYSTEM(TENANT), expose, Expose("tr", target, name="Ü", skills=[{**skill, "examples": []}])
    )


def officially(key_set: Any) -> Any:
    """The official check, with keys from a key set."""
    known = PyJWKSet.from_dict(key_set)

    def key(kid: str | None, jku: str | None) -> PyJWK:
        assert kid is not None
        assert jku == PUBLIC + KEYS
        try:
            return known[kid]
        except KeyError:
            raise PyJWKClientError("no such key") from None

    return create_signature_verifier(key, ["ES256"])


async def resolved(http: httpx.AsyncClient, path: str, key_set: Any) -> a2a_pb2.AgentCard:
    """The card as the official client fetches and checks it."""
    resolver = A2ACardResolver(http, PUBLIC, path)
    return await resolver.get_agent_card(signature_verifier=officially(key_set))


async def test_the_official_client_accepts_the_signatures(http: httpx.AsyncClient, exposed: None) -> None:
    answer = await http.get(KEYS)
    assert answer.headers["content-type"] == "application/jwk-set+json"
    own = await resolved(http, CARD, answer.json())
    card = await resolved(http, EXPOSED, answer.json())
    assert (len(own.signatures), len(card.signatures)) == (1, 1)
    assert card.skills[0].description == "日本語 → Français"


async def test_a_card_that_was_changed_is_found_out(http: httpx.AsyncClient, exposed: None) -> None:
    check = officially((await http.get(KEYS)).json())
    card = await resolved(http, EXPOSED, (await http.get(KEYS)).json())
    card.description = "Something else."
    with pytest.raises(InvalidSignaturesError):
        check(card)
    del card.signatures[:]
    with pytest.raises(NoSignatureError):
        check(card)


async def test_a_hub_accepts_the_cards_of_another(http: httpx.AsyncClient, exposed: None) -> None:
    async def fetched(jku: str) -> Sequence[Any]:
        return keys_of((await http.get(jku)).json())

    for path in (CARD, EXPOSED):
        card = (await http.get(path)).json()
        assert "preferredTransport" in card, "it has the members of 0.3 too, which are not signed"
        assert await judge(card, [], fetched) is Signature.VALID
        with pytest.raises(CardRefused):
            await judge({**card, "name": "Another"}, [], fetched)


async def test_the_header_of_a_signature_says_which_key_and_where(http: httpx.AsyncClient) -> None:
    [signature] = (await http.get(CARD)).json()["signatures"]
    [key] = (await http.get(KEYS)).json()["keys"][-1:]
    assert set(signature) == {"protected", "signature"}
    header = json.loads(decode(signature["protected"]))
    assert header == {"alg": "ES256", "typ": "JOSE", "jku": PUBLIC + KEYS, "kid": header["kid"]}
    assert set(key) == {"kty", "crv", "x", "y", "alg", "use", "kid"}, "no private half"


async def test_a_rotation_leaves_nobody_without_a_signature_to_check(
    platform: Platform, http: httpx.AsyncClient
) -> None:
    hub = SYSTEM(DEFAULT_TENANT)
    [old] = await platform.read(hub, signing, None)
    before = (await http.get(KEYS)).json()
    first = await http.get(CARD)
    new = await platform.write(hub, rotate, NewSigningKey())
    known = {"If-None-Match": first.headers["ETag"]}
    second = await http.get(CARD, headers=known)
    assert second.status_code == 200, "the card is another, for it has a further signature"
    after = (await http.get(KEYS)).json()
    assert len((await resolved(http, CARD, before)).signatures) == 2, "who kept the old keys"
    assert len((await resolved(http, CARD, after)).signatures) == 2
    await platform.write(hub, retire, SigningKeyId(old.id))
    last = (await http.get(KEYS)).json()
    assert {key["kid"] for key in last["keys"]} == {key["kid"] for key in after["keys"]} - {old.kid}
    assert new.kid in {key["kid"] for key in last["keys"]}
    assert len((await resolved(http, CARD, last)).signatures) == 1
    stale = {"keys": [key for key in before["keys"] if key["kid"] == old.kid]}
    with pytest.raises(InvalidSignaturesError):
        await resolved(http, CARD, stale)


async def test_cards_and_keys_are_not_sent_again_to_who_has_them(
    http: httpx.AsyncClient, exposed: None
) -> None:
    for path in (CARD, EXPOSED, KEYS):
        first = await http.get(path)
        assert "max-age" in first.headers["Cache-Control"]
        assert first.headers["Last-Modified"].endswith("GMT")
        tag = first.headers["ETag"]
        again = await http.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert (await http.get(path)).content == first.content
        assert (await http.post(path)).status_code == 405
