"""Secrets at rest."""

import dataclasses
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.keyring import Keyring
from core.sealing import Place, Sealer, Secret, Unsealable, is_sealed

SECRET = "a secret of thirty-two bytes, at least"
OTHER = "another secret of thirty-two bytes, too"
HERE = Place(UUID(int=1), "webhook", UUID(int=7), "signing_key")


@given(st.text())
def test_what_was_sealed_opens(text: str) -> None:
    sealer = Sealer(Keyring(SECRET))
    assert sealer.open(sealer.seal(text, HERE), HERE).reveal() == text


def test_a_sealed_value_is_versioned_and_names_its_secret() -> None:
    """`enc:v2:<key id>:<nonce>:<ciphertext>:<tag>`."""
    sealed = Sealer(Keyring(SECRET)).seal("hunter2", HERE)
    head, version, key_id, nonce, ciphertext, tag = sealed.split(":")
    assert (head, version, key_id) == ("enc", "v2", Keyring(SECRET).ids[0])
    assert (len(nonce), len(ciphertext), len(tag)) == (16, 10, 22)
    assert is_sealed(sealed)
    assert "hunter2" not in sealed


def test_two_seals_of_one_text_differ() -> None:
    sealer = Sealer(Keyring(SECRET))
    assert sealer.seal("same", HERE) != sealer.seal("same", HERE)


@pytest.mark.parametrize(
    "elsewhere",
    [
        dataclasses.replace(HERE, tenant_id=UUID(int=2)),
        dataclasses.replace(HERE, table="mcp_server"),
        dataclasses.replace(HERE, row=UUID(int=8)),
        dataclasses.replace(HERE, column="token"),
    ],
    ids=["tenant", "table", "row", "column"],
)
def test_a_value_that_was_moved_does_not_open(elsewhere: Place) -> None:
    """Whoever can write the database cannot make another row use a secret."""
    sealer = Sealer(Keyring(SECRET))
    sealed = sealer.seal("hunter2", HERE)
    with pytest.raises(Unsealable):
        sealer.open(sealed, elsewhere)


def test_places_that_read_alike_are_different() -> None:
    one = Place(UUID(int=1), "ab", "c", "d")
    other = Place(UUID(int=1), "a", "bc", "d")
    assert one.binding() != other.binding()


@pytest.mark.parametrize("part", [3, 4, 5], ids=["nonce", "ciphertext", "tag"])
def test_a_changed_value_does_not_open(part: int) -> None:
    sealer = Sealer(Keyring(SECRET))
    parts = sealer.seal("hunter2", HERE).split(":")
    parts[part] = ("B" if parts[part][0] == "A" else "A") + parts[part][1:]
    with pytest.raises(Unsealable):
        sealer.open(":".join(parts), HERE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "enc:v1:a:b:c",
        "enc:v2:",
        "enc:v2:k:::",
        "enc:v2:k:AAAA:AAAA:AAAA",
        "enc:v2:k:*:*:*",
        "enc:v2:k:é:é:é",
    ],
)
def test_what_is_no_sealed_value_is_refused(text: str) -> None:
    with pytest.raises(Unsealable):
        Sealer(Keyring(SECRET)).open(text, HERE)


def test_the_previous_secret_opens_and_resealing_moves_to_the_present_one() -> None:
    old = Sealer(Keyring(SECRET)).seal("hunter2", HERE)
    both = Sealer(Keyring(OTHER, SECRET))
    assert both.open(old, HERE).reveal() == "hunter2"
    fresh = both.reseal(old, HERE)
    assert fresh is not None
    assert Sealer(Keyring(OTHER)).open(fresh, HERE).reveal() == "hunter2"


def test_resealing_twice_changes_nothing() -> None:
    sealer = Sealer(Keyring(SECRET))
    assert sealer.reseal(sealer.seal("hunter2", HERE), HERE) is None


def test_resealing_refuses_what_does_not_belong_here() -> None:
    old = Sealer(Keyring(SECRET)).seal("hunter2", HERE)
    with pytest.raises(Unsealable):
        Sealer(Keyring(OTHER, SECRET)).reseal(old, dataclasses.replace(HERE, row="9"))


def test_a_secret_that_is_gone_is_named() -> None:
    sealed = Sealer(Keyring(SECRET)).seal("hunter2", HERE)
    with pytest.raises(Unsealable, match=Keyring(SECRET).ids[0]):
        Sealer(Keyring(OTHER)).open(sealed, HERE)


def test_an_opened_secret_does_not_show_itself() -> None:
    assert "hunter2" not in f"{Secret('hunter2')} {Secret('hunter2')!r}"
