"""Files and terminals as an agent asks for them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from hub.worker.acp.terminals import argv, exit_status, tail
from tests.hub.worker.acp.stage import Stage

Staged = Callable[..., Stage]


async def _called(stage: Stage, method: str, **params: Any) -> Any:
    output, _ = await stage.do(f"call {method} {json.dumps(params)}")
    return json.loads(output["text"])


async def _run(stage: Stage, **params: Any) -> Any:
    output, _ = await stage.do(f"terminal {json.dumps(params)}")
    return json.loads(output["text"])


async def test_what_is_not_switched_on_is_not_there(staged: Staged) -> None:
    stage = staged()
    for method in ("fs/read_text_file", "fs/write_text_file", "terminal/create"):
        assert (await _called(stage, method, path="/etc/passwd"))["code"] == -32601


async def test_an_agent_reads_and_writes_in_its_workspace_and_nowhere_else(staged: Staged) -> None:
    stage = staged(files=True)
    (stage.work / "a.txt").write_text("one\ntwo\nthree\n")
    path = str(stage.work / "a.txt")
    assert await _called(stage, "fs/read_text_file", path=path) == {"content": "one\ntwo\nthree\n"}
    assert await _called(stage, "fs/read_text_file", path=path, line=2, limit=1) == {"content": "two\n"}
    assert await _called(stage, "fs/read_text_file", path=path, line=9) == {"content": ""}
    assert await _called(stage, "fs/write_text_file", path=str(stage.work / "d/b"), content="x") == {}
    assert (stage.work / "d" / "b").read_text() == "x"
    assert (await _called(stage, "fs/read_text_file", path=str(stage.work / "none")))["code"] == -32002
    for bad in ("/etc/passwd", f"{stage.work}/../state", "a.txt", 7, ""):
        assert (await _called(stage, "fs/read_text_file", path=bad))["code"] == -32602
        assert (await _called(stage, "fs/write_text_file", path=bad, content="x"))["code"] == -32602
    assert (await _called(stage, "fs/read_text_file", path=path, line=-1))["code"] == -32602
    assert (await _called(stage, "fs/write_text_file", path=path))["code"] == -32602


async def test_further_directories_of_the_session_are_part_of_its_workspace(staged: Staged) -> None:
    stage = staged(files=True)
    for name in ("one", "two"):
        (stage.work / name).mkdir()
        (stage.work / name / "f").write_text(name)
    brief: dict[str, Any] = {
        "cwd": str(stage.work / "one"),
        "additional_directories": [str(stage.work / "two")],
    }
    params = {"path": str(stage.work / "two" / "f")}
    output, _ = await stage.do(f"call fs/read_text_file {json.dumps(params)}", **brief)
    assert json.loads(output["text"]) == {"content": "two"}
    outside = {"path": str(stage.work / "f")}
    output, _ = await stage.do(f"call fs/read_text_file {json.dumps(outside)}", **brief)
    assert json.loads(output["text"])["code"] == -32602


async def test_a_command_runs_in_the_workspace_with_its_variables_and_its_end(staged: Staged) -> None:
    stage = staged(terminals=True)
    (stage.work / "d").mkdir()
    told = await _run(
        stage,
        command="sh",
        args=["-c", "pwd; echo $WHO; echo err >&2; exit 3"],
        cwd=str(stage.work / "d"),
        env=[{"name": "WHO", "value": "me"}],
    )
    assert told["output"] == {
        "output": f"{stage.work}/d\nme\nerr\n",
        "truncated": False,
        "exitStatus": {"exitCode": 3, "signal": None},
    }
    assert told["ended"] == {"exitCode": 3, "signal": None}
    assert told["after"] == -32002


async def test_a_line_for_a_shell_is_run_by_one(staged: Staged) -> None:
    told = await _run(staged(terminals=True), command="echo a | tr a b && kill $$")
    assert told["output"]["output"] == "b\n"
    assert told["ended"] == {"exitCode": None, "signal": "SIGTERM"}


async def test_of_much_output_the_end_is_kept(staged: Staged) -> None:
    stage = staged(terminals=True)
    told = await _run(stage, command="seq 1 100000", outputByteLimit=12)
    assert told["output"]["output"] == "99999\n100000\n"[-12:]
    assert told["output"]["truncated"] is True


async def test_a_terminal_does_not_begin_elsewhere_or_without_a_command(staged: Staged) -> None:
    stage = staged(terminals=True)
    (stage.work / "out").symlink_to("/")
    for cwd in ("/", f"{stage.work}/..", f"{stage.work}/out", "."):
        assert (await _run(stage, command="pwd", cwd=cwd))["code"] == -32602
    for wrong in (
        {"command": ""},
        {"command": "ls", "args": "x"},
        {"command": "ls", "env": [1]},
        {"command": "ls", "env": [{"name": "A=B", "value": "x"}]},
        {"command": "ls", "outputByteLimit": "x"},
        {"command": "ls", "cwd": 1},
    ):
        assert (await _run(stage, **wrong))["code"] == -32602, wrong
    told = await _run(stage, command="no-such-command-here")
    assert told["ended"]["exitCode"] == 127


async def test_terminals_have_a_bound(staged: Staged) -> None:
    stage = staged(terminals=True)
    for _ in range(32):
        assert "terminalId" in await _called(stage, "terminal/create", command="true")
    assert "32 terminals" in (await _called(stage, "terminal/create", command="true"))["message"]


async def test_an_unknown_terminal_is_said_to_be(staged: Staged) -> None:
    stage = staged(terminals=True)
    for method in ("output", "wait_for_exit", "kill", "release"):
        assert (await _called(stage, f"terminal/{method}", terminalId="t"))["code"] == -32002


@pytest.mark.parametrize(
    ("content", "most", "kept"),
    [(b"abc", 3, b"abc"), (b"abcd", 3, b"bcd"), ("aé".encode(), 1, b""), ("éa".encode(), 2, b"a")],
)
def test_a_cut_is_at_a_character(content: bytes, most: int, kept: bytes) -> None:
    assert tail(content, most)[0] == kept


def test_words() -> None:
    assert argv("ls", ["-l"]) == ["ls", "-l"]
    assert argv("ls", []) == ["ls"]
    assert argv("ls -l", []) == ["/bin/sh", "-c", "ls -l"]
    assert exit_status(-9) == {"exitCode": None, "signal": "SIGKILL"}
