"""Which grant decides, and what of a call is shown."""

from fnmatch import fnmatchcase
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.gateway import policy
from core.gateway.policy import Rule, choose, matches, redacted
from schemas.vocabulary import GrantEffect, GrantSubject

SERVER = UUID(int=1)
ALLOW, APPROVE, DENY = GrantEffect.ALLOW, GrantEffect.APPROVE, GrantEffect.DENY
ROLE, PRINCIPAL, AGENT, TASK = GrantSubject


def rule(subject: GrantSubject, tool: str, effect: GrantEffect, server: UUID = SERVER) -> Rule:
    return Rule(uuid4(), server, subject, tool, effect)


def effect(rules: list[Rule], tool: str = "delete_file") -> GrantEffect | None:
    found = choose(rules, SERVER, tool)
    return None if found is None else found.effect


def test_without_a_grant_there_is_nothing() -> None:
    assert effect([]) is None
    assert effect([rule(TASK, "*", ALLOW, UUID(int=2))]) is None
    assert effect([rule(TASK, "read_*", ALLOW)]) is None


def test_the_more_specific_subject_decides() -> None:
    order = [
        rule(ROLE, "*", DENY),
        rule(PRINCIPAL, "*", ALLOW),
        rule(AGENT, "*", APPROVE),
        rule(TASK, "*", DENY),
    ]
    for most in range(1, 5):
        assert effect(order[:most]) is order[most - 1].effect
        assert effect(order[:most][::-1]) is order[most - 1].effect


def test_the_more_exact_tool_decides() -> None:
    order = [rule(ROLE, "*", DENY), rule(ROLE, "delete_*", ALLOW), rule(ROLE, "delete_fil?", APPROVE)]
    assert effect(order) is APPROVE
    assert effect([*order, rule(ROLE, "delete_file", DENY)]) is DENY
    assert effect([*order, rule(ROLE, "delete_file", ALLOW)]) is ALLOW


def test_deny_comes_before_approve_and_approve_before_allow() -> None:
    equal = [rule(ROLE, "*", found) for found in (ALLOW, DENY, APPROVE)]
    assert effect(equal) is DENY
    assert effect([equal[0], equal[2]]) is APPROVE


def test_a_tool_that_is_denied_is_not_offered() -> None:
    assert not policy.offered([rule(ROLE, "*", DENY)], SERVER, "x")
    assert not policy.reaches([rule(ROLE, "*", DENY)], SERVER)
    assert policy.offered([rule(ROLE, "*", APPROVE)], SERVER, "x")
    assert policy.reaches([rule(ROLE, "y", APPROVE)], SERVER)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_patterns_are_shell_patterns(pattern: str, name: str) -> None:
    assert matches(pattern, name) is fnmatchcase(name, pattern)


def test_everything_but_the_two_wildcards_is_itself() -> None:
    assert matches("a[b].c", "a[b].c")
    assert not matches("a[b].c", "ab.c")
    assert not matches("READ", "read")


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not matches("*a" * 60 + "b", "a" * 128)


def test_secrets_are_left_out() -> None:
    schema = {"properties": {"pin": {"writeOnly": True}, "list": {"items": {"format": "password"}}}}
    value = {"pin": 1, "list": ["x"], "API-Key": "k", "deep": [{"password": "p", "path": "q"}], "n": 2}
    assert redacted(value, schema) == {
        "pin": "[redacted]",
        "list": ["[redacted]"],
        "API-Key": "[redacted]",
        "deep": [{"password": "[redacted]", "path": "q"}],
        "n": 2,
    }
    assert redacted({"max_tokens": 5}) == {"max_tokens": 5}


def test_a_digest_does_not_depend_on_order() -> None:
    assert policy.digest({"a": 1, "b": 2.0}) == policy.digest({"b": 2, "a": 1})
    assert policy.digest({"a": 1}) != policy.digest({"a": "1"})
    with pytest.raises(Invalid):
        policy.digest({"a": float("nan")})
