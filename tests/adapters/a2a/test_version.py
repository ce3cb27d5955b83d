"""Version negotiation. Specification §3.6."""

import pytest

from adapters.a2a.errors import METHOD_NOT_FOUND, VERSION_NOT_SUPPORTED, A2AError
from adapters.a2a.version import extensions, negotiate


@pytest.mark.parametrize("named", ["1.0", "1.0.0", "1.0.17", "01.0"])
def test_major_and_minor_decide_and_the_patch_does_not(named: str) -> None:
    assert negotiate(named, "SendMessage") == "1.0"


@pytest.mark.parametrize("named", ["0.2", "0.4", "1.1", "1.5", "2.0", "1", "latest", "1.0-beta", "-1.0"])
def test_other_versions_are_not_supported(named: str) -> None:
    with pytest.raises(A2AError) as refused:
        negotiate(named, "SendMessage")
    assert refused.value.kind is VERSION_NOT_SUPPORTED
    assert refused.value.metadata == {"supportedVersions": "0.3,1.0"}


def test_a_forgotten_header_is_explained_to_whoever_calls_a_method_of_1_0() -> None:
    with pytest.raises(A2AError) as refused:
        negotiate(None, "SendMessage")
    assert refused.value.kind is METHOD_NOT_FOUND
    assert 'Add "A2A-Version: 1.0"' in refused.value.message


@pytest.mark.parametrize("named", [None, "", "0.3", "0.3.0"])
def test_no_version_is_0_3(named: str | None) -> None:
    assert negotiate(named) == "0.3"


def test_extensions_are_a_comma_list() -> None:
    assert extensions(" https://a/x , urn:b,, ") == {"https://a/x", "urn:b"}
    assert extensions(None) == frozenset()
