"""The documentation says what is so: settings, commands, targets, links, diagrams, and code that runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from core.transitions import mermaid
from hub.cli.main import COMMANDS, cli
from hub.settings import documented

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("[a-z]*/README.md"))]
RUN = re.compile(r"<!-- run -->\n```(?:console|bash)\n(.*?)```", re.DOTALL)


def settings_table() -> str:
    """What README.md must hold between its settings marks."""
    rows = ["| Variable | Default | Means |", "| --- | --- | --- |"]
    for setting in documented():
        default = f"`{setting.default}`" if re.fullmatch(r"[\w:/.-]+", setting.default) else setting.default
        secret = " *Secret.*" if setting.secret else ""
        rows.append(f"| `{setting.variable}` | {default} | {setting.doc}{secret} |")
    return "\n".join(rows)


def test_the_settings_table_is_the_settings() -> None:
    match = re.search(r"<!-- settings:.*?-->\n(.*?)<!-- /settings -->", README, re.DOTALL)
    assert match is not None
    expected = settings_table()
    assert match[1].strip() == expected, f"put this between the marks:\n\n{expected}\n"


def test_the_diagram_of_the_states_is_the_table_of_moves() -> None:
    assert f"```mermaid\n{mermaid()}\n```" in (ROOT / "core" / "README.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ |&& |; |^)make ([a-z]+)", document.read_text(), re.MULTILINE))
    assert named <= targets


def test_the_makefile_has_what_a_newcomer_expects() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets >= {"install", "demo", "serve", "test", "lint", "bench", "crash", "peers"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(document: Path) -> None:
    for line in re.findall(r"(?:`|bin/|\$\()crossdock ([a-z][^`)\n]*)", document.read_text()):
        words = shlex.split(line.split("#")[0].split("`")[0].split("…")[0].replace("'CMD'", "CMD"))
        assert words[0] in COMMANDS, line
        command = cli.get_command(click.Context(cli), words[0])
        assert command is not None
        known = {option for parameter in _parameters(command, words[1:]) for option in parameter.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, line


def _parameters(command: click.Command, words: list[str]) -> list[click.Parameter]:
    if isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words[0].rstrip(","))
        assert inner is not None, words
        return inner.params
    return command.params


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_readme_is_short_enough_to_read() -> None:
    assert len(README.splitlines()) <= 250


@pytest.mark.skipif(shutil.which("curl") is None, reason="what README.md shows calls curl")
def test_what_the_readme_tells_a_newcomer_to_type_runs_as_written(tmp_path: Path) -> None:
    """Its marked blocks, one after the other in one shell, beside `serve --demo`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    serve = [sys.executable, "-P", "-m", "hub", "serve", "--demo", "--port", "0", "--json"]
    script = "\n".join(
        re.sub(r"^\$ ", "", block, flags=re.MULTILINE) + "\necho" for block in RUN.findall(README)
    )
    with subprocess.Popen(serve, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as hub:
        try:
            assert hub.stdout is not None
            url = json.loads(hub.stdout.readline())["url"]
            script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
            script = script.replace("http://127.0.0.1:8080", url).replace(
                "curl -s ", "curl -sS --fail-with-body "
            )
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=tmp_path,
                env={**environ, "CROSSDOCK_URL": url},
                capture_output=True,
                text=True,
                timeout=40,
                check=False,
            )
        finally:
            hub.terminate()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    asked, created, events, *doctor = ran.stdout.splitlines()
    assert json.loads(asked)["result"]["task"]["artifacts"][0]["parts"] == [{"text": "Hello."}]
    assert json.loads(created)["data"]["title"] == "say hello"
    assert len(json.loads(events)["data"]) > 3
    assert any(line.startswith("ok\thub") for line in doctor)


def _compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_the_composed_hub_is_healthy_unprivileged_and_read_only() -> None:
    services = _compose()["services"]
    assert set(services) == {"database", "hub"}
    assert all("healthcheck" in service for service in services.values())
    hub = services["hub"]
    assert hub["depends_on"]["database"]["condition"] == "service_healthy"
    assert hub["user"].startswith("10001")
    assert hub["read_only"] is True
    assert hub["cap_drop"] == ["ALL"]
    assert hub["environment"]["PYTHONSAFEPATH"] == "1"


def test_compose_and_its_example_name_only_settings_that_exist() -> None:
    known = {setting.variable for setting in documented()} | {"CROSSDOCK_POSTGRES_PASSWORD"}
    text = (ROOT / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    offered = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == offered
    assert set(re.findall(r"CROSSDOCK_\w+", text)) <= known


def test_nothing_published_is_a_secret_that_works() -> None:
    """Security rule: no example key. Whoever copies the example must fill it in."""
    for name, value in re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE):
        if any(word in name for word in ("KEY", "PASSWORD", "SECRET")):
            assert value == "", name


def test_the_image_runs_as_nobody_in_particular() -> None:
    text = (ROOT / "Containerfile").read_text()
    assert "\nUSER 10001:10001\n" in text
    assert "PYTHONSAFEPATH=1" in text
    assert '\nENTRYPOINT ["crossdock"]\n' in text
    assert "HEALTHCHECK" in text


def test_the_lock_pins_everything_and_names_no_address() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in pins)
