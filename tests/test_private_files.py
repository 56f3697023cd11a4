"""Files that hold a secret: one that anybody may change is refused, one that others may read is reported."""

import logging
import stat
from pathlib import Path

import pytest

from app.engine.store import Store
from app.errors import AdminKeyRefused, WebhookRefused
from app.keys import Keys
from app.private_files import write_private
from app.webhook.endpoint import Endpoint

KEY = "0123456789abcdef0123456789abcdef"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def _file(tmp_path: Path, content: str, mode: int) -> Path:
    file = tmp_path / "secret"
    file.write_text(content)
    file.chmod(mode)
    return file


def test_an_admin_key_that_anybody_may_change_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(AdminKeyRefused, match=r"anybody may change .*chmod 600"):
        Keys(store, "127.0.0.1", _file(tmp_path, KEY, 0o666))


def test_a_webhook_secret_that_anybody_may_change_is_refused(tmp_path: Path) -> None:
    file = _file(tmp_path, SECRET, 0o602)
    with pytest.raises(WebhookRefused, match=r"anybody may change .*chmod 600"):
        Endpoint("https://hooks.example/in", file, "hooks.example")


@pytest.mark.parametrize(
    ("mode", "is_reported"), [(0o600, False), (0o400, False), (0o644, True), (0o660, True)]
)
def test_a_key_that_others_may_read_is_reported(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, is_reported: bool
) -> None:
    with caplog.at_level(logging.WARNING, "app.private_files"):
        Keys(store, "127.0.0.1", _file(tmp_path, KEY, mode))
    assert ("others on this machine may read or change" in caplog.text) is is_reported
    assert KEY not in caplog.text


def test_a_private_file_is_new_and_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "private"
    write_private(file, "secret")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("secret", 0o600)
    with pytest.raises(FileExistsError):
        write_private(file, "another")
