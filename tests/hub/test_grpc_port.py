"""The port of A2A over gRPC: what cards say of it, and a hub that lacks the extra."""

import sys
from pathlib import Path

import pytest

from hub.app import build
from hub.secret_file import HubSecret
from hub.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, None),
        ({"CROSSDOCK_GRPC_PORT": "0"}, None),
        ({"CROSSDOCK_GRPC_PORT": "50051"}, "127.0.0.1:50051"),
        ({"CROSSDOCK_GRPC_PORT": "50051", "CROSSDOCK_HOST": "::1"}, "[::1]:50051"),
        (
            {"CROSSDOCK_GRPC_PORT": "50051", "CROSSDOCK_PUBLIC_URL": "https://hub.example.com:8443/x"},
            "hub.example.com:50051",
        ),
    ],
)
def test_grpc_is_reached_at_the_host_of_the_public_address(
    environ: dict[str, str], address: str | None
) -> None:
    assert Settings.from_env(environ).grpc_address == address


def test_the_hub_knows_that_it_listens_there() -> None:
    assert Settings(grpc_port=50051).all_sockets(8080) == [("127.0.0.1", 8080), ("127.0.0.1", 50051)]
    assert Settings().all_sockets(8080) == [("127.0.0.1", 8080)]


def test_without_the_extra_the_setting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adapters.a2a.grpc_binding", None)
    settings = Settings(database_url=f"sqlite:///{tmp_path}/x.db", grpc_port=50051)
    with pytest.raises(SettingsError, match=r"CROSSDOCK_GRPC_PORT needs the extra `grpc`"):
        build(settings, HubSecret("s" * 32, None, None, False))
