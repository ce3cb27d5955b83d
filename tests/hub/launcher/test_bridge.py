"""The bridge between an editor and hubs that come and go."""

import json
from collections.abc import Sequence
from typing import Any

from hub.launcher.bridge import Bridge, wants_terminal

Message = dict[str, Any]


class Editor:
    """An editor with its bridge, and everything that was said to it."""

    def __init__(self, tags: Sequence[str] = ()) -> None:
        self.told: list[Message] = []
        self.bridge = Bridge(lambda text: self.told.append(json.loads(text)), tags)

    def says(self, **message: Any) -> list[Message]:
        """What goes to the hub now."""
        return [json.loads(text) for text in self.bridge.from_editor(json.dumps(message))]

    def hears(self, **message: Any) -> list[Message]:
        """The hub says something; what goes back to it."""
        return [json.loads(text) for text in self.bridge.from_hub(json.dumps(message))]

    def link(self) -> list[Message]:
        """A hub that answers the greeting; what it hears next."""
        hello = json.loads(self.bridge.greet())
        return self.hears(id=hello["id"], result={"protocolVersion": 1})

    def lose(self) -> None:
        """The connection is gone."""
        self.bridge.unlink()

    def meets(self) -> None:
        """The editor starts, and a hub is there."""
        self.says(id=0, method="initialize", params={"protocolVersion": 1})
        self.link()

    def opens(self, session: str = "s1") -> None:
        """A session."""
        self.says(id="n", method="session/new", params={"cwd": "/w", "mcpServers": []})
        self.hears(id="n", result={"sessionId": session})


def update(session: str, seq: str, text: str = "x") -> Message:
    return {
        "method": "session/update",
        "params": {"sessionId": session, "update": {"text": text}, "_meta": {"crossdock/seq": seq}},
    }


def asked(name: str, id: Any, session: str = "s1") -> Message:
    params = {"sessionId": session, "_meta": {"crossdock/approvalId": name}}
    return {"id": id, "method": "session/request_permission", "params": params}


def test_initialize_is_answered_once_however_many_hubs_there_are() -> None:
    editor = Editor()
    editor.says(id=7, method="initialize", params={"protocolVersion": 1})
    for _ in range(3):
        editor.link()
        editor.lose()
    assert [m["id"] for m in editor.told] == [7]


def test_what_was_asked_before_there_was_a_hub_is_asked_when_there_is_one() -> None:
    editor = Editor()
    editor.says(id=0, method="initialize", params={})
    assert editor.says(id=1, method="session/list", params={}) == []
    assert [m["id"] for m in editor.link()] == [1]
    editor.hears(id=1, result={"sessions": []})
    editor.lose()
    assert editor.link() == []


def test_a_prompt_is_said_again_under_the_same_key_behind_its_session() -> None:
    editor = Editor()
    editor.meets()
    editor.opens()
    (prompt,) = editor.says(id=2, method="session/prompt", params={"sessionId": "s1", "prompt": []})
    editor.hears(**update("s1", "9.0"))
    editor.lose()
    (resume,) = editor.link()
    assert (resume["method"], resume["params"]["sessionId"]) == ("session/resume", "s1")
    assert resume["params"]["_meta"]["crossdock/afterSeq"] == "9.0"
    assert editor.hears(id=resume["id"], result={}) == [prompt]
    editor.hears(id=2, result={"stopReason": "end_turn"})
    assert editor.told[-1] == {"id": 2, "result": {"stopReason": "end_turn"}}


def test_a_session_that_has_said_nothing_goes_on_from_its_beginning() -> None:
    editor = Editor()
    editor.meets()
    editor.opens()
    editor.lose()
    (resume,) = editor.link()
    assert resume["params"]["_meta"]["crossdock/afterSeq"] == "0.0"


def test_a_load_that_was_cut_short_goes_on_where_it_was() -> None:
    editor = Editor()
    editor.meets()
    load = {"sessionId": "s1", "cwd": "/w", "mcpServers": []}
    editor.says(id=3, method="session/load", params=load)
    editor.hears(**update("s1", "4.1"))
    editor.lose()
    (again,) = editor.link()
    assert (again["id"], again["params"]["_meta"]["crossdock/afterSeq"]) == (3, "4.1")


def test_a_question_stays_on_the_screen_and_its_answer_finds_the_new_hub() -> None:
    editor = Editor()
    editor.meets()
    editor.opens()
    editor.hears(**asked("a1", 5))
    shown = editor.told[-1]["id"]
    editor.lose()
    (resume,) = editor.link()
    editor.hears(id=resume["id"], result={"_meta": {"crossdock/pending": ["a1"]}})
    count = len(editor.told)
    assert editor.hears(**asked("a1", 1)) == []
    assert len(editor.told) == count
    assert editor.says(id=shown, result={"outcome": "yes"}) == [{"id": 1, "result": {"outcome": "yes"}}]


def test_an_answer_that_was_given_while_there_was_no_hub_is_not_lost() -> None:
    editor = Editor()
    editor.meets()
    editor.opens()
    editor.hears(**asked("a1", 5))
    shown = editor.told[-1]["id"]
    editor.lose()
    assert editor.says(id=shown, result="yes") == []
    (resume,) = editor.link()
    editor.hears(id=resume["id"], result={"_meta": {"crossdock/pending": ["a1"]}})
    assert editor.hears(**asked("a1", 2)) == [{"id": 2, "result": "yes"}]


def test_a_question_that_was_answered_elsewhere_leaves_the_screen() -> None:
    editor = Editor()
    editor.meets()
    editor.opens()
    for name, hub_id in (("a1", 5), ("a2", 6)):
        editor.hears(**asked(name, hub_id))
    first, second = (m["id"] for m in editor.told[-2:])
    editor.hears(method="$/cancel_request", params={"requestId": 6})
    assert editor.told[-1] == {
        "jsonrpc": "2.0",
        "method": "$/cancel_request",
        "params": {"requestId": second},
    }
    editor.lose()
    (resume,) = editor.link()
    editor.hears(id=resume["id"], result={"_meta": {"crossdock/pending": []}})
    assert editor.told[-1]["params"] == {"requestId": first}


def test_two_hubs_ids_are_never_the_same_to_the_editor() -> None:
    editor = Editor()
    editor.meets()
    editor.opens()
    editor.hears(**asked("a1", 1))
    editor.lose()
    (resume,) = editor.link()
    editor.hears(id=resume["id"], result={"_meta": {"crossdock/pending": ["a1"]}})
    editor.hears(**asked("a2", 1))
    assert len({m["id"] for m in editor.told if m.get("method") == "session/request_permission"}) == 2


def test_new_sessions_ask_for_the_agent_beside_the_editor() -> None:
    editor = Editor(["beside:1"])
    editor.meets()
    (new,) = editor.says(id=1, method="session/new", params={"cwd": "/w", "mcpServers": []})
    assert new["params"]["_meta"]["crossdock/tags"] == ["beside:1"]


def test_what_the_editor_says_in_meta_wins() -> None:
    editor = Editor(["beside:1"])
    editor.meets()
    meta = {"crossdock/idempotencyKey": "mine", "other": 1}
    (prompt,) = editor.says(
        id=1, method="session/prompt", params={"sessionId": "s", "prompt": [], "_meta": meta}
    )
    assert prompt["params"]["_meta"] == meta


def test_a_closed_session_is_not_resumed() -> None:
    editor = Editor()
    editor.meets()
    editor.opens()
    editor.says(id=4, method="session/close", params={"sessionId": "s1"})
    editor.hears(id=4, result={})
    editor.lose()
    assert editor.link() == []


def test_whoever_logged_out_stays_logged_out() -> None:
    editor = Editor()
    editor.meets()
    editor.says(id=4, method="logout", params={})
    editor.hears(id=4, result={})
    editor.lose()
    assert [m["method"] for m in editor.link()] == ["logout"]


def test_without_a_key_the_editor_learns_how_to_log_in() -> None:
    editor = Editor()
    capabilities = {"auth": {"terminal": True}}
    editor.says(id=0, method="initialize", params={"clientCapabilities": capabilities})
    editor.says(id=1, method="session/new", params={})
    assert wants_terminal(editor.bridge.hello)
    editor.bridge.refuse("1", "Run: crossdock acp login", terminal=True)
    hello, refused = editor.told
    assert [m["id"] for m in hello["result"]["authMethods"]] == ["hub-login", "hub-token"]
    assert (refused["id"], refused["error"]["code"]) == (1, -32000)


def test_notifications_wait_for_a_hub_and_garbage_is_the_hubs_to_judge() -> None:
    editor = Editor()
    editor.says(id=0, method="initialize", params={})
    assert editor.says(method="session/cancel", params={"sessionId": "s"}) == []
    assert editor.bridge.from_editor("[1,2") == []
    assert [editor.bridge.hello is not None, editor.bridge.linked] == [True, False]
    hello = json.loads(editor.bridge.greet())
    sent = editor.bridge.from_hub(json.dumps({"id": hello["id"], "result": {}}))
    assert [json.loads(sent[0])["method"], sent[1]] == ["session/cancel", "[1,2"]
