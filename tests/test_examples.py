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


def test_check_counts_what_misleads_and_what_is_short() -> None:
    check = runpy.run_path(str(CHECK))
    right = check["Answer"]("paraphrase", "text", "a", "duplicate", "a")
    other = check["Answer"]("paraphrase", "text", "a", "duplicate", "b")
    near = check["Answer"]("near_miss", "text", "a", "duplicate", "a")
    new = check["Answer"]("near_miss", "text", "a", "new", "a")
    elsewhere = check["Answer"]("elsewhere", "text", "", "new", "nothing")
    assert [answer.is_wrong for answer in (right, other, near, new)] == [False, True, True, False]
    bars = {(bar.kind, bar.verdict): bar for bar in check["BARS"]}
    enough = bars["paraphrase", "duplicate"].least
    good = [*[right] * enough, *[new] * 50, *[elsewhere] * 12]
    assert check["missed"](good) == []
    (short,) = check["missed"]([*good[1:], other])
    assert short == f"paraphrase called duplicate: {enough - 1}, at least {enough} wanted"
    allowed = bars["near_miss", "duplicate"].most
    (wrong,) = check["missed"]([*good, *[near] * (allowed + 1)])
    assert wrong.startswith(f"near_miss called duplicate: {allowed + 1}, at most")
