"""API keys as text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.keyring import Keyring, Purpose
from core.keys import MalformedKey, check_form, is_token, lookup_hash, mint, shown
from schemas.vocabulary import Scope

SECRET = "a secret of thirty-two bytes, at least"
OTHER = "another secret of thirty-two bytes, too"
PEPPER = Keyring(SECRET).current(Purpose.PEPPER)


@pytest.mark.parametrize("scope", Scope)
def test_a_minted_key_has_the_documented_form(scope: Scope) -> None:
    """`xd_<scope>_<43 characters of base64url, 32 random bytes><6 characters of CRC>`."""
    key = mint(scope)
    assert re.fullmatch(rf"xd_{scope}_[A-Za-z0-9_-]{{43}}[A-Za-z0-9_-]{{6}}", key)
    check_form(key)


def test_no_key_is_minted_twice() -> None:
    assert len({mint(Scope.AGENT) for _ in range(1000)}) == 1000


@given(st.integers(min_value=9, max_value=57), st.sampled_from("ABCabc012-_"))
def test_one_wrong_character_is_noticed_without_a_database(at: int, other: str) -> None:
    key = "xd_agent_" + "A" * 43
    key = mint(Scope.AGENT) if at % 2 else key + _crc(key)
    mistyped = key[:at] + other + key[at + 1 :]
    if mistyped == key:
        check_form(mistyped)
    else:
        with pytest.raises(MalformedKey):
            check_form(mistyped)


def _crc(body: str) -> str:
    import base64
    import zlib

    return base64.urlsafe_b64encode(zlib.crc32(body.encode()).to_bytes(4)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "key",
    [
        "ar_agent_0123456789abcdef",
        "ar_admin_0123456789abcdef",
        "ab_tenant01_worker_0123456789abcdef",
        "an operator may choose any text",
        "xd_demo_admin_key_of_somebody",
    ],
)
def test_keys_of_other_platforms_and_chosen_texts_are_taken(key: str) -> None:
    check_form(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "x" * 23,
        "x" * 513,
        " " + "x" * 30,
        "x" * 30 + "\n",
        "x" * 30 + "\0",
        "ключ" * 10,
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
    ],
)
def test_what_cannot_be_a_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedKey) as refused:
        check_form(text)
    assert not text or text not in str(refused.value)


def test_the_hash_depends_on_the_pepper_and_tells_nothing() -> None:
    key = mint(Scope.ADMIN)
    mine = lookup_hash(key, PEPPER)
    assert len(mine) == 32
    assert mine == lookup_hash(key, PEPPER)
    assert mine != lookup_hash(key, Keyring(OTHER).current(Purpose.PEPPER))
    assert mine != lookup_hash(mint(Scope.ADMIN), PEPPER)


def test_a_key_of_ours_is_shown_by_its_beginning() -> None:
    key = mint(Scope.AGENT)
    assert shown(key, PEPPER) == key[: len("xd_agent_") + 6]


def test_a_chosen_key_is_shown_by_a_fingerprint() -> None:
    """Its beginning might be half of it."""
    label = shown("correct horse battery staple", PEPPER)
    assert re.fullmatch(r"k[A-Za-z0-9_-]{11}", label)


@pytest.mark.parametrize(
    ("text", "expected"), [("eyJh.eyJz.c2ln", True), ("a.b.c", False), ("xd_agent_x", False)]
)
def test_tokens_and_keys_are_told_apart(text: str, expected: bool) -> None:
    assert is_token(text) is expected
