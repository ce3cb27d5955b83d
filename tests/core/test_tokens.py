"""Tokens as text."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest

from core.keyring import Keyring, Purpose
from core.tokens import ACCESS_LIFE, REFRESH_LIFE, Claims, ExpiredToken, InvalidToken, TokenKind, Tokens
from schemas.vocabulary import Scope

SECRET = "a secret of thirty-two bytes, at least"
OTHER = "another secret of thirty-two bytes, too"
HUB = "https://hub.example.com"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CLAIMS = Claims(
    id=UUID(int=1),
    principal_id=UUID(int=2),
    tenant_id=UUID(int=3),
    key_id=UUID(int=4),
    family_id=UUID(int=5),
    scope=Scope.AGENT,
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=30),
)
KINDS = list(TokenKind)


def forged(
    change: Mapping[str, Any], header: Mapping[str, Any] | None = None, key: bytes | None = None
) -> str:
    """A token as the hub signs it, but for the changes; None removes a claim."""
    made = Tokens(Keyring(SECRET), HUB).issue(TokenKind.ACCESS, CLAIMS).text
    payload = jwt.decode(made, options={"verify_signature": False})
    payload = {name: value for name, value in {**payload, **change}.items() if value is not None}
    ring = Keyring(SECRET)
    headers = {"typ": TokenKind.ACCESS.value, "kid": ring.ids[0], **(header or {})}
    return jwt.encode(payload, key or ring.current(Purpose.JWT).key, "HS256", headers)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_says_what_it_was_given(kind: TokenKind) -> None:
    tokens = Tokens(Keyring(SECRET), HUB)
    assert tokens.read(kind, tokens.issue(kind, CLAIMS).text, NOW) == CLAIMS


def test_an_access_token_lives_an_hour_at_most() -> None:
    long = replace(CLAIMS, expires_at=NOW + timedelta(days=365))
    tokens = Tokens(Keyring(SECRET), HUB)
    assert tokens.issue(TokenKind.ACCESS, long).expires_at == NOW + ACCESS_LIFE == NOW + timedelta(hours=1)
    assert tokens.issue(TokenKind.REFRESH, long).expires_at == NOW + REFRESH_LIFE


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_token_is_not_taken_for_the_other(kind: TokenKind) -> None:
    """A refresh token is no access token."""
    tokens = Tokens(Keyring(SECRET), HUB)
    other = next(k for k in KINDS if k is not kind)
    with pytest.raises(InvalidToken):
        tokens.read(other, tokens.issue(kind, CLAIMS).text, NOW)


def test_the_audience_alone_keeps_the_kinds_apart() -> None:
    """A changed `typ` is signed over, but even a hub that signed it would be refused."""
    refresh = jwt.decode(
        Tokens(Keyring(SECRET), HUB).issue(TokenKind.REFRESH, CLAIMS).text,
        options={"verify_signature": False},
    )
    with pytest.raises(InvalidToken):
        Tokens(Keyring(SECRET), HUB).read(TokenKind.ACCESS, forged({"aud": refresh["aud"]}), NOW)


@pytest.mark.parametrize(
    "claim", ["exp", "iat", "iss", "aud", "jti", "sub", "tenant", "key", "family", "scope"]
)
def test_every_claim_is_required(claim: str) -> None:
    tokens = Tokens(Keyring(SECRET), HUB)
    tokens.read(TokenKind.ACCESS, forged({}), NOW)
    with pytest.raises(InvalidToken):
        tokens.read(TokenKind.ACCESS, forged({claim: None}), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"aud": "https://evil.example"},
        {"aud": [HUB, "https://evil.example"]},
        {"jti": "1"},
        {"jti": 7},
        {"sub": "nobody"},
        {"scope": "root"},
        {"exp": "tomorrow"},
        {"exp": 10**20},
        {"exp": int((NOW + timedelta(days=2)).timestamp())},
        {"iat": int((NOW + timedelta(minutes=5)).timestamp())},
        {"nbf": "later"},
    ],
    ids=str,
)
def test_a_wrong_claim_is_refused(change: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        Tokens(Keyring(SECRET), HUB).read(TokenKind.ACCESS, forged(change), NOW)


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": None}, {"kid": "00000000"}, {"kid": ""}], ids=str)
def test_a_wrong_header_is_refused(header: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        Tokens(Keyring(SECRET), HUB).read(TokenKind.ACCESS, forged({}, header), NOW)


@pytest.mark.parametrize("algorithm", ["none", "HS512", "RS256"])
def test_the_algorithm_is_not_the_senders_to_choose(algorithm: str) -> None:
    """RFC 8725 §3.1."""
    head, body, signature = forged({}).split(".")
    claimed = {**json.loads(base64.urlsafe_b64decode(head + "==")), "alg": algorithm}
    head = base64.urlsafe_b64encode(json.dumps(claimed).encode()).rstrip(b"=").decode()
    for signed in (signature, ""):
        with pytest.raises(InvalidToken):
            Tokens(Keyring(SECRET), HUB).read(TokenKind.ACCESS, f"{head}.{body}.{signed}", NOW)


def test_hs512_with_the_right_key_is_refused() -> None:
    ring = Keyring(SECRET)
    payload = jwt.decode(forged({}), options={"verify_signature": False})
    text = jwt.encode(
        payload,
        ring.current(Purpose.JWT).key * 2,
        "HS512",
        {"typ": TokenKind.ACCESS.value, "kid": ring.ids[0]},
    )
    with pytest.raises(InvalidToken):
        Tokens(ring, HUB).read(TokenKind.ACCESS, text, NOW)


@pytest.mark.parametrize("purpose", [p for p in Purpose if p is not Purpose.JWT])
def test_no_other_key_of_the_hub_signs_tokens(purpose: Purpose) -> None:
    with pytest.raises(InvalidToken):
        Tokens(Keyring(SECRET), HUB).read(
            TokenKind.ACCESS, forged({}, key=Keyring(SECRET).current(purpose).key), NOW
        )


def test_the_secret_itself_signs_no_token() -> None:
    with pytest.raises(InvalidToken):
        Tokens(Keyring(SECRET), HUB).read(TokenKind.ACCESS, forged({}, key=SECRET.encode()), NOW)


def test_the_previous_secret_reads_and_the_present_one_signs() -> None:
    old = Tokens(Keyring(SECRET), HUB).issue(TokenKind.ACCESS, CLAIMS).text
    both = Tokens(Keyring(OTHER, SECRET), HUB)
    assert both.read(TokenKind.ACCESS, old, NOW) == CLAIMS
    fresh = both.issue(TokenKind.ACCESS, CLAIMS).text
    assert jwt.get_unverified_header(fresh)["kid"] == Keyring(OTHER).ids[0]
    with pytest.raises(InvalidToken):
        Tokens(Keyring(OTHER), HUB).read(TokenKind.ACCESS, old, NOW)


def test_an_expired_token_says_so() -> None:
    tokens = Tokens(Keyring(SECRET), HUB)
    text = tokens.issue(TokenKind.ACCESS, CLAIMS).text
    tokens.read(TokenKind.ACCESS, text, CLAIMS.expires_at - timedelta(seconds=1))
    with pytest.raises(ExpiredToken):
        tokens.read(TokenKind.ACCESS, text, CLAIMS.expires_at)


def test_clocks_of_replicas_may_differ_a_little() -> None:
    tokens = Tokens(Keyring(SECRET), HUB)
    tokens.read(TokenKind.ACCESS, tokens.issue(TokenKind.ACCESS, CLAIMS).text, NOW - timedelta(seconds=50))


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "a.b.c", "eyJ.eyJ.x", "..", "é.é.é", forged({}) + "x", forged({})[:-8]]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        Tokens(Keyring(SECRET), HUB).read(TokenKind.ACCESS, text, NOW)


def test_no_repr_shows_a_token() -> None:
    token = Tokens(Keyring(SECRET), HUB).issue(TokenKind.ACCESS, CLAIMS)
    assert token.text not in repr(token)
