"""Every example runs against a real hub, each asker with each worker, and prints what it says it prints."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
ADMIN_KEY = "an-admin-key-for-the-examples"
ASKERS = sorted(path.name for path in EXAMPLES.glob("ask_*.py"))
WORKERS = sorted([*(path.name for path in EXAMPLES.glob("do_*.py")), "worker.sh"])


@pytest.fixture(name="environ", scope="module")
def _environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which examples find a hub."""
    directory = tmp_path_factory.mktemp("hub")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    environ |= {"CROSSDOCK_ADMIN_API_KEY": ADMIN_KEY, "PYTHONSAFEPATH": "1"}
    serve = [sys.executable, "-m", "hub", "serve", "--port", "0", "--json"]
    with subprocess.Popen(serve, cwd=directory, env=environ, stdout=subprocess.PIPE, text=True) as hub:
        try:
            assert hub.stdout is not None
            url = json.loads(hub.stdout.readline())["url"]
            yield {**environ, "CROSSDOCK_URL": url, "CROSSDOCK_API_KEY": ADMIN_KEY}
        finally:
            hub.terminate()


def _command(name: str) -> list[str]:
    return [str(EXAMPLES / name)] if name.endswith(".sh") else [sys.executable, str(EXAMPLES / name)]


def _heeding(command: list[str]) -> list[str]:
    """The command, which heeds an interrupt even where this run was started in a shell's background."""
    heed = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", heed, *command]


def _promised(name: str) -> str:
    """The block at the end of an example."""
    _, _, block = (EXAMPLES / name).read_text().partition("\n# Output:\n")
    assert block, f"{name} does not say what it prints"
    return re.sub(r"^# ?", "", block, flags=re.MULTILINE)


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("asker", ASKERS)
def test_each_asker_and_each_worker_print_what_they_promise(
    asker: str, worker: str, environ: dict[str, str]
) -> None:
    if worker.endswith(".sh") and not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip(f"{worker} needs curl and jq")
    with subprocess.Popen(_command(asker), env=environ, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        first = asking.stdout.readline()  # asked, and nobody has answered yet
        with subprocess.Popen(
            _heeding(_command(worker)), env=environ, stdout=subprocess.PIPE, text=True
        ) as working:
            try:
                rest, _ = asking.communicate(timeout=30)
                assert working.stdout is not None
                worked = working.stdout.readline()
            finally:
                asking.kill()
                working.send_signal(signal.SIGINT)
    assert first + rest == _promised(asker)
    assert worked == _promised(worker)


def test_every_example_is_an_asker_or_a_worker() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert programs == {*ASKERS, *WORKERS}


@pytest.mark.parametrize("name", [*ASKERS, *WORKERS])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 60
