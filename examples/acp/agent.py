"""An ACP agent in plain Python: it asks before it shouts what it is told. See README.md beside it.

crossdock worker --acp 'python examples/acp/agent.py'
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

LEAVE = [
    {"optionId": "yes", "name": "Shout", "kind": "allow_once"},
    {"optionId": "no", "name": "Stay quiet", "kind": "reject_once"},
]


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def messages() -> Iterator[dict[str, Any]]:
    while line := sys.stdin.readline():
        yield json.loads(line)


def prompt(session_id: str, text: str) -> str:
    """Do one turn: ask, wait for the answer, speak."""
    call = {"toolCallId": "shout", "title": f"shout {text!r}", "kind": "other"}
    asked = {"sessionId": session_id, "toolCall": call, "options": LEAVE}
    send(id="leave", method="session/request_permission", params=asked)
    for message in messages():
        if message.get("id") == "leave" and "method" not in message:
            outcome = message["result"]["outcome"]
            break
    else:
        sys.exit()
    if outcome["outcome"] == "cancelled":
        return "cancelled"
    for word in text.upper().split() if outcome["optionId"] == "yes" else ["(silence)"]:
        said = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": f"{word} "}}
        send(method="session/update", params={"sessionId": session_id, "update": said})
    return "end_turn"


for message in messages():
    method, params = message.get("method"), message.get("params") or {}
    if method == "initialize":
        send(id=message["id"], result={"protocolVersion": 1, "agentCapabilities": {}})
    elif method == "session/new":
        send(id=message["id"], result={"sessionId": "s1"})
    elif method == "session/prompt":
        text = " ".join(block.get("text", "") for block in params["prompt"])
        send(id=message["id"], result={"stopReason": prompt(params["sessionId"], text)})
    elif "id" in message and method:
        send(id=message["id"], error={"code": -32601, "message": "no such method"})
