"""The operator's rules."""

import pytest

from hub.worker.acp.policy import Effect, Policy, Rule, Tool

GIT = Tool("execute", "bash", "git status", "git status")


@pytest.mark.parametrize(
    ("rule", "tool", "matches"),
    [
        ("execute", GIT, True),
        ("bash", GIT, True),
        ("*", GIT, True),
        ("edit", GIT, False),
        ("execute:git *", GIT, True),
        ("execute:git *", Tool("execute", None, "git status", "rm -rf /"), False),
        ("execute:git *", Tool("execute", None, "git status", None), True),
        ("execute:git *", Tool("execute", None, "", "git status; rm -rf /"), False),
        ("execute:git *", Tool("execute", None, "", "git $(rm -rf /)"), False),
        ("execute:git *", Tool("execute", None, "", "git log > /etc/passwd"), False),
        ("execute:git *", Tool("execute", None, "", "git log\nrm -rf /"), False),
    ],
)
def test_what_is_allowed_is_just_what_was_said(rule: str, tool: Tool, matches: bool) -> None:
    assert Rule.parse(Effect.ALLOW, rule).matches(tool) is matches


def test_what_is_denied_is_denied_however_it_is_called() -> None:
    rule = Rule.parse(Effect.DENY, "execute:*rm *")
    assert rule.matches(Tool("execute", None, "clean up", "git log; rm -rf /"))
    assert rule.matches(Tool("execute", None, "rm -rf /", "true"))


@pytest.mark.parametrize("text", ["", ":x", "execute:"])
def test_a_rule_about_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule"):
        Rule.parse(Effect.ALLOW, text)


def test_the_strictest_rule_counts_and_memory_comes_after_rules() -> None:
    policy = Policy([Rule(Effect.ALLOW, "*"), Rule(Effect.ASK, "execute"), Rule(Effect.DENY, "bash")])
    assert policy.judge(GIT, "auto").effect is Effect.DENY
    assert policy.judge(Tool("execute", None, "", None), "auto", Effect.ALLOW).effect is Effect.ASK
    assert policy.judge(Tool("read", None, "", None), "ask").effect is Effect.ALLOW
    assert Policy().judge(GIT, "ask", Effect.DENY).effect is Effect.DENY
    assert Policy().judge(GIT, "plan", Effect.ALLOW).effect is Effect.DENY
    assert Policy().judge(GIT, "ask").effect is Effect.ASK


def test_a_mode_is_not_switched_by_itself() -> None:
    assert Policy().judge(Tool("switch_mode", None, "leave plan", None), "auto").effect is Effect.ASK


def test_what_cannot_be_read_counts_as_absent() -> None:
    assert (
        Tool.of({"kind": 1, "title": None, "rawInput": {"command": ["git", "status"]}}).command
        == "git status"
    )
    assert Tool.of({"rawInput": "x"}) == Tool("other", None, "", None)
