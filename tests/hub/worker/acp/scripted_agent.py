"""An agent that does what its prompt says, over ACP on stdin and stdout, in nothing but standard Python.

The first word decides, see `DOES`. Its sessions are files in the directory that AGENT_STATE names, so that
another process can take them up. Arguments change what it says that it can: `no-load`, `resume`, `login`,
`models`, `old`.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any

CAN = set(sys.argv[1:])
STATE = Path(os.environ.get("AGENT_STATE", "."))
_writing = threading.Lock()
_answers: dict[int, Queue[dict[str, Any]]] = {}
_cancelled = threading.Event()
_logged_in = threading.Event()
_deaf = threading.Event()
_counting = threading.Lock()
_chosen: dict[str, Any] = {"mode": "ask", "model": "small"}
_client: dict[str, Any] = {}


def write(line: str) -> None:
    """One line."""
    with _writing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def send(**message: Any) -> None:
    """One message."""
    write(json.dumps({"jsonrpc": "2.0", **message}))


def update(session_id: str, **said: Any) -> None:
    """One update."""
    send(method="session/update", params={"sessionId": session_id, "update": said})


def say(session_id: str, text: str) -> None:
    """A piece of a message."""
    update(session_id, sessionUpdate="agent_message_chunk", content={"type": "text", "text": text})


def ask(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Call the client and wait for its answer, the whole of it."""
    with _counting:
        id = len(_answers) + 1000
        _answers[id] = Queue()
    send(id=id, method=method, params=params)
    return _answers[id].get()


def do_say(session_id: str, rest: str) -> str:
    """Say each word."""
    for word in rest.split():
        say(session_id, word + " ")
    return "end_turn"


def do_ask(session_id: str, rest: str) -> str:
    """Ask for leave to run a command, and say what came of it."""
    call = {
        "toolCallId": f"call_{uuid.uuid4().hex[:8]}",
        "title": rest,
        "kind": "execute",
        "status": "pending",
        "rawInput": {"command": rest},
    }
    update(session_id, sessionUpdate="tool_call", **call)
    options = [
        {"optionId": "once", "name": "Once", "kind": "allow_once"},
        {"optionId": "always", "name": "Always", "kind": "allow_always"},
        {"optionId": "no", "name": "No", "kind": "reject_once"},
    ]
    params = {"sessionId": session_id, "toolCall": {"toolCallId": call["toolCallId"]}, "options": options}
    outcome = ask("session/request_permission", params)["result"]["outcome"]
    if outcome["outcome"] == "cancelled":
        say(session_id, "cancelled")
        return "cancelled"
    update(session_id, sessionUpdate="tool_call_update", toolCallId=call["toolCallId"], status="completed")
    say(session_id, f"chosen {outcome['optionId']}")
    return "end_turn"


def do_both(session_id: str, rest: str) -> str:
    """Ask for leave twice at once, and say both answers in the order of the questions."""
    said: dict[str, str] = {}

    def one(name: str) -> None:
        options = [{"optionId": name, "name": name, "kind": "allow_once"}]
        call = {"toolCallId": name, "title": name, "kind": "edit"}
        params = {"sessionId": session_id, "toolCall": call, "options": options}
        said[name] = ask("session/request_permission", params)["result"]["outcome"]["optionId"]

    asking = [threading.Thread(target=one, args=(name,), daemon=True) for name in ("a", "b")]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    say(session_id, " ".join(said[name] for name in sorted(said)))
    return "end_turn"


def do_elicit(session_id: str, rest: str) -> str:
    """Ask for a word, and say it."""
    schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    params = {"sessionId": session_id, "mode": "form", "message": rest, "requestedSchema": schema}
    say(session_id, json.dumps(ask("elicitation/create", params)["result"], sort_keys=True))
    return "end_turn"


def do_stream(session_id: str, rest: str) -> str:
    """Say numbers until there were so many, or until cancelled."""
    count, _, pause = rest.partition(" ")
    for n in range(int(count)):
        if _cancelled.is_set():
            return "cancelled"
        say(session_id, f"{n} ")
        if pause:
            time.sleep(float(pause))
    return "end_turn"


def do_hang(session_id: str, rest: str) -> str:
    """Never end, whatever is said."""
    say(session_id, "hanging")
    threading.Event().wait()
    return "end_turn"


def do_spawn(session_id: str, rest: str) -> str:
    """Start processes that leave the group, say their ids, and go on."""
    script = "setsid sleep 1000 & echo $!; sleep 1000 & echo $!; wait"
    child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout is not None
    pids = [
        str(os.getpid()),
        str(child.pid),
        child.stdout.readline().strip(),
        child.stdout.readline().strip(),
    ]
    say(session_id, " ".join([*pids, ""]))
    return do_stream(session_id, rest or "100000 0.01")


def do_die(session_id: str, rest: str) -> str:
    """End the process."""
    say(session_id, "dying")
    sys.stderr.write("out of cheese\n")
    sys.stderr.flush()
    os._exit(3)


def do_call(session_id: str, rest: str) -> str:
    """Call a method of the client, and say its answer."""
    method, _, params = rest.partition(" ")
    answer = ask(method, {"sessionId": session_id, **json.loads(params)})
    say(session_id, json.dumps(answer.get("result", answer.get("error")), sort_keys=True))
    return "end_turn"


def do_terminal(session_id: str, rest: str) -> str:
    """Run a command in a terminal of the client's, and say all that is known of it."""
    told = ask("terminal/create", {"sessionId": session_id, **json.loads(rest)})
    if "error" in told:
        say(session_id, json.dumps(told["error"]))
        return "end_turn"
    which = {"sessionId": session_id, "terminalId": told["result"]["terminalId"]}
    ended = ask("terminal/wait_for_exit", which)["result"]
    output = ask("terminal/output", which)["result"]
    ask("terminal/release", which)
    after = ask("terminal/output", which)["error"]["code"]
    say(session_id, json.dumps({"ended": ended, "output": output, "after": after}))
    return "end_turn"


def do_recall(session_id: str, rest: str) -> str:
    """Say what was said before, and what was chosen."""
    past = json.loads((STATE / f"{session_id}.json").read_text())
    say(session_id, " | ".join([*past, f"mode={_chosen['mode']}", f"model={_chosen['model']}"]))
    return "end_turn"


def do_env(session_id: str, rest: str) -> str:
    """Say the names of the variables that it has."""
    say(session_id, " ".join(sorted(os.environ)))
    return "end_turn"


def do_raw(session_id: str, rest: str) -> str:
    """Write lines as they are."""
    for line in json.loads(rest):
        write(line.replace("SESSION", session_id))
    return "end_turn"


def do_deaf(session_id: str, rest: str) -> str:
    """Read nothing any more, and ask without end."""
    _deaf.set()
    say(session_id, "deaf")
    n = 0
    while True:
        n += 1
        send(id=f"d{n}", method="no/such/method", params={"padding": "x" * 1000})


def do_huge(session_id: str, rest: str) -> str:
    """Write a line of so many million bytes."""
    with _writing:
        for _ in range(int(rest)):
            sys.stdout.write("x" * 1_000_000)
        sys.stdout.flush()
    return "end_turn"


def do_refuse(session_id: str, rest: str) -> str:
    """Decline."""
    return "refusal"


def do_servers(session_id: str, rest: str) -> str:
    """Say which MCP servers it was given."""
    say(session_id, " ".join(server["name"] for server in _chosen["servers"]))
    return "end_turn"


DOES: dict[str, Callable[[str, str], str]] = {
    name.removeprefix("do_"): done for name, done in list(globals().items()) if name.startswith("do_")
}


def remember(session_id: str, text: str) -> None:
    """Keep what was said in a session."""
    file = STATE / f"{session_id}.json"
    past = json.loads(file.read_text()) if file.exists() else []
    passing = STATE / f"{session_id}.{uuid.uuid4().hex}"
    passing.write_text(json.dumps([*past, text]))
    passing.replace(file)


def offers() -> dict[str, Any]:
    """What a session offers."""
    told: dict[str, Any] = {}
    modes = ("plan", "ask", "auto")
    if "mode-option" not in CAN:
        available = [{"id": id, "name": id} for id in modes]
        told["modes"] = {"currentModeId": _chosen["mode"], "availableModes": available}
    values = [{"value": value, "name": value} for value in ("small", "large")]
    if "models" in CAN:
        models = [{"modelId": value["value"], "name": value["name"]} for value in values]
        told["models"] = {"currentModelId": _chosen["model"], "availableModels": models}
    else:
        option = {"id": "model", "name": "Model", "category": "model", "type": "select", "options": values}
        told["configOptions"] = [{**option, "currentValue": _chosen["model"]}]
    if "mode-option" in CAN:
        groups = [{"group": "all", "name": "All", "options": [{"value": id, "name": id} for id in modes]}]
        option = {"id": "how", "name": "Mode", "category": "mode", "type": "select", "options": groups}
        told["configOptions"].append({**option, "currentValue": _chosen["mode"]})
    return told


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request: `result` or `error`."""
    match method:
        case "initialize":
            _client.update(params["clientCapabilities"])
            return {"result": initialized()}
        case "authenticate":
            _logged_in.set()
            return {"result": {}}
        case "session/new" | "session/load" | "session/resume":
            return opened(method, params)
        case "session/set_mode":
            _chosen["mode"] = params["modeId"]
            return {"result": {}}
        case "session/set_model":
            _chosen["model"] = params["modelId"]
            return {"result": {}}
        case "session/set_config_option":
            _chosen["mode" if params["configId"] == "how" else "model"] = params["value"]
            return {"result": {"configOptions": offers()["configOptions"]}}
    return {"error": {"code": -32601, "message": "no such method"}}


def initialized() -> dict[str, Any]:
    """The result of `initialize`."""
    capabilities: dict[str, Any] = {"loadSession": "no-load" not in CAN, "mcpCapabilities": {"http": True}}
    if "resume" in CAN:
        capabilities["sessionCapabilities"] = {"resume": {}}
    return {
        "protocolVersion": 0 if "old" in CAN else 1,
        "agentCapabilities": capabilities,
        "authMethods": [{"id": "key", "name": "Key"}, {"id": "web", "name": "Web"}] if "login" in CAN else [],
        "agentInfo": {"name": "scripted", "version": "1"},
    }


def opened(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A session, new or of before."""
    if "login" in CAN and not _logged_in.is_set():
        return {"error": {"code": -32000, "message": "log in first"}}
    _chosen["servers"] = params["mcpServers"]
    if method == "session/new":
        session_id = f"s_{uuid.uuid4().hex[:12]}"
        (STATE / f"{session_id}.json").write_text("[]")
        return {"result": {"sessionId": session_id, **offers()}}
    session_id = params["sessionId"]
    file = STATE / f"{session_id}.json"
    if not file.exists():
        return {"error": {"code": -32002, "message": "no such session"}}
    if method == "session/load":
        for text in json.loads(file.read_text()):
            content = {"type": "text", "text": text}
            update(session_id, sessionUpdate="user_message_chunk", content=content)
    return {"result": offers()}


def prompted(id: Any, params: dict[str, Any]) -> None:
    """One turn."""
    session_id = params["sessionId"]
    text = "\n".join(block.get("text", "") for block in params["prompt"])
    word, _, rest = params["prompt"][-1].get("text", "").partition(" ")
    try:
        reason = DOES[word](session_id, rest)
        remember(session_id, text)
        usage = {"totalTokens": 3, "inputTokens": 1, "outputTokens": 2}
        send(id=id, result={"stopReason": reason, "usage": usage})
    except KeyError as error:
        send(id=id, error={"code": -32603, "message": f"no such script: {error}"})


def main() -> None:
    """Serve until the client closes."""
    write("this line is no message")
    for line in sys.stdin:
        if _deaf.is_set():
            threading.Event().wait()
        message = json.loads(line)
        method = message.get("method")
        if method is None:
            waiting = _answers.get(message.get("id"))
            if waiting is not None:
                waiting.put(message)
            elif "error" in message:
                sys.stderr.write(f"refused: {line}")
        elif method == "session/cancel":
            _cancelled.set()
        elif method == "session/prompt":
            _cancelled.clear()
            turn = threading.Thread(target=prompted, args=(message["id"], message["params"]), daemon=True)
            turn.start()
        elif "id" in message:
            send(id=message["id"], **answer(method, message["params"]))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
