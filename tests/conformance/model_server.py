"""A model that does what it is told, behind the two APIs that agents speak: OpenAI's and Gemini's.

The newest words of the user decide: `say WORDS` streams the words one by one, `run COMMAND` calls the agent's
tool for shell commands and then says what came back, `stall` begins to speak and never ends, `recall` says
what it was told to do before.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERBS = ("say", "run", "stall", "recall")
SHELL_TOOLS = ("bash", "run_shell_command")


class ModelServer:
    """Serves on a free port until its block ends."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.asked: list[str] = []
        """What it was told to do, in order; what agents ask for themselves is not among it."""
        model = self

        class Handler(_Handler):
            server_of = model

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "ModelServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def script(
        self, texts: Sequence[str], result: str | None, tools: set[str]
    ) -> Iterator[str | dict[str, Any]]:
        """What the model says next to all that the user said: words, or one call of a tool."""
        orders = [line for line in map(_last_line, texts) if line.partition(" ")[0] in VERBS]
        said = _last_line(texts[-1]) if texts else ""
        verb, _, rest = said.partition(" ")
        if verb in VERBS and result is None:
            self.asked.append(said)
        if result is not None:
            yield from _words(f"The tool said: {result}")
        elif verb == "say":
            yield from _words(rest)
        elif verb == "run" and tools.intersection(SHELL_TOOLS):
            tool = next(name for name in SHELL_TOOLS if name in tools)
            yield {"name": tool, "arguments": {"command": rest, "description": "as it was told"}}
        elif verb == "recall":
            yield from _words(", ".join(orders[:-1]) or "nothing")
        elif verb == "stall":
            yield "Well, "
            self.stopping.wait()
        else:
            yield "A title"


class _Handler(BaseHTTPRequestHandler):
    server_of: ModelServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """Nothing is to be read."""
        self._answer({})

    def do_POST(self) -> None:
        """Either API, streamed or not."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if self.path.split("?")[0].endswith("/chat/completions"):
                self._openai(body)
            elif ":countTokens" in self.path:
                self._answer({"totalTokens": 1})
            else:
                self._gemini(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the agent was told to stop

    def _openai(self, body: Mapping[str, Any]) -> None:
        messages = body["messages"]
        result = messages[-1]["content"] if messages[-1]["role"] == "tool" else None
        texts = [_text(message["content"]) for message in messages if message["role"] == "user"]
        tools = {tool["function"]["name"] for tool in body.get("tools", ())}
        pieces = self.server_of.script(texts, None if result is None else _text(result), tools)
        frame = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
        if not body.get("stream"):
            text = "".join(piece for piece in pieces if isinstance(piece, str))
            message = {"role": "assistant", "content": text}
            self._answer({**frame, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
            return
        self._begin()
        reason = "stop"
        for piece in pieces:
            delta: dict[str, Any] = {"role": "assistant"}
            if isinstance(piece, str):
                delta["content"] = piece
            else:
                reason = "tool_calls"
                function = {"name": piece["name"], "arguments": json.dumps(piece["arguments"])}
                delta["tool_calls"] = [
                    {"index": 0, "id": f"call_{len(messages)}", "type": "function", "function": function}
                ]
            self._frame({**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        self._frame(
            {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}
        )
        self._end(b"data: [DONE]\n\n")

    def _gemini(self, body: Mapping[str, Any]) -> None:
        contents = body["contents"]
        parts = contents[-1]["parts"]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        texts = [
            part["text"]
            for content in contents
            if content.get("role", "user") == "user"
            for part in content["parts"]
            if "text" in part
        ]
        tools = {
            declared["name"]
            for tool in body.get("tools", ())
            for declared in tool.get("functionDeclarations", ())
        }
        result = json.dumps(results[-1]["response"]) if results else None
        pieces = self.server_of.script(texts, result, tools)
        if "streamGenerateContent" not in self.path:
            self._answer(_candidate({"text": "".join(p for p in pieces if isinstance(p, str))}, "STOP"))
            return
        self._begin()
        for piece in pieces:
            if isinstance(piece, str):
                self._frame(_candidate({"text": piece}))
            else:
                call = {"name": piece["name"], "args": piece["arguments"]}
                self._frame(_candidate({"functionCall": call}))
        self._frame(_candidate({"text": ""}, "STOP"))
        self._end()

    def _answer(self, value: Mapping[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _frame(self, value: Mapping[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def _end(self, last: bytes = b"") -> None:
        self.wfile.write(last)
        self.wfile.flush()


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()


def _words(text: str) -> Iterator[str]:
    for word in text.split():
        yield f"{word} "


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def _candidate(part: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    return {"candidates": [candidate], "usageMetadata": usage}
