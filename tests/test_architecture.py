"""The rooms keep their directions, own their names, and say what they are."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS

ROOT = Path(__file__).parent.parent
ROOMS = ("schemas", "core", "adapters", "hub")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OUTSIDE = ("hub.client", "hub.launcher", "hub.worker")


def _modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Every module that the file names in an import, wherever in the file it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_every_import_keeps_its_contract() -> None:
    # A process of its own: the linter switches off every logger that exists, and other tests read the log.
    linter = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    done = subprocess.run(
        [*linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == EXIT_STATUS_SUCCESS, done.stdout


def test_no_contract_was_dropped_or_weakened() -> None:
    contracts = {contract["name"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}
    assert len(contracts) == 6
    assert not any("ignore_imports" in contract for contract in contracts.values())


def test_every_adapter_folder_is_in_the_contract() -> None:
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][1]
    named = set(re.findall(r"\w+", " ".join(contract["layers"])))
    there = {
        p.stem for p in (ROOT / "adapters").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert named == there - {"__init__"}


def test_programs_outside_the_hub_import_nothing_of_the_rest_of_it() -> None:
    """The contract forbids core and adapters; this forbids what is beside them in `hub`."""
    for package in OUTSIDE:
        for path in _modules(package.replace(".", "/")):
            of_hub = {name for name in _imports(path) if name == "hub" or name.startswith("hub.")}
            strangers = {name for name in of_hub if not name.startswith(OUTSIDE) and name != "hub"}
            assert not strangers, path


def test_of_adapters_programs_outside_may_use_only_the_peer_that_knows_no_protocol_and_no_hub() -> None:
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][5]
    there = {p.stem for p in (ROOT / "adapters").iterdir() if p.suffix == ".py" or p.is_dir()}
    allowed = {"jsonrpc", "jsonrpc_peer"}
    assert {"core", "starlette", "sqlalchemy"} <= set(contract["forbidden_modules"])
    forbidden = {name.removeprefix("adapters.") for name in contract["forbidden_modules"]}
    assert there - forbidden - {"__init__", "__pycache__"} == allowed
    for name in allowed:
        ours = {found for found in _imports(ROOT / "adapters" / f"{name}.py") if found.startswith(ROOMS)}
        assert all(
            found.startswith(("adapters.jsonrpc", "schemas.strict_json")) for found in ours - {"adapters"}
        )


def test_nobody_else_owns_the_names_of_our_rooms() -> None:
    owners = packages_distributions()
    for room in ROOMS:
        assert set(owners.get(room, ["crossdock"])) == {"crossdock"}, room


def test_every_package_has_an_init_and_tests_have_none() -> None:
    for room in ROOMS:
        for path in _modules(room):
            if "versions" not in path.parts:
                assert (path.parent / "__init__.py").exists(), path
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("room", [*ROOMS, "tests", "examples"])
def test_every_room_says_what_lives_there_what_it_may_import_and_what_to_read_first(room: str) -> None:
    text = (ROOT / room / "README.md").read_text()
    assert "**May import**" in text
    assert "**Read first**" in text


@pytest.mark.parametrize("room", [*ROOMS, "tests", "examples"])
def test_the_files_that_a_room_readme_names_exist(room: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / room / "README.md").read_text(), flags=re.DOTALL)
    for name in re.findall(r"`([\w./]+(?:\.py|\.toml|\.sh|/))`", text):
        here = [ROOT / room / name, ROOT / name]
        generic = name in {"wire.py", "translate.py", "errors.py", "server.py", "client.py", "__init__.py"}
        assert generic or any(path.exists() for path in here) or name.startswith("tests/core/__init__"), name


def test_no_module_has_grown_past_what_one_reads_in_a_sitting() -> None:
    """Ours: 400 lines. Drafted migrations, and one table after the other, are read differently."""
    for room in ROOMS:
        for path in _modules(room):
            if "versions" not in path.parts and path.parent != ROOT / "core" / "store" / "tables":
                lines = len(path.read_text().splitlines())
                assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"


def test_every_module_says_what_it_is() -> None:
    for room in ROOMS:
        for path in _modules(room):
            source = path.read_text()
            if source.strip():
                assert ast.get_docstring(ast.parse(source)), path


def test_only_the_settings_read_the_environment() -> None:
    """ruff bans `os.environ` too, but for whole files at a time. Programs outside the hub have their own."""
    outside = [ROOT / "hub" / name for name in ("client", "demo", "launcher", "worker")]
    for room in ROOMS:
        for path in _modules(room):
            if path != ROOT / "hub" / "settings.py" and not any(map(path.is_relative_to, outside)):
                assert not {"os.environ", "os.getenv"} & set(_attributes(path)), path


def _attributes(path: Path) -> list[str]:
    return [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
