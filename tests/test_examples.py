"""The example programs: they speak to the server that the settings name."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.serving import free_port

CHECK = Path(__file__).parent.parent / "examples" / "check.py"


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "http://127.0.0.1:{port}"), ("::1", "http://[::1]:{port}")]
)
def test_check_asks_the_server_that_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    port = free_port()
    monkeypatch.setenv("SAMEASK_HOST", host)
    monkeypatch.setenv("SAMEASK_PORT", str(port))
    monkeypatch.setattr(sys, "argv", ["check.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(CHECK), run_name="__main__")
    assert str(ended.value).startswith(f"no answer from {address.format(port=port)}: ")
