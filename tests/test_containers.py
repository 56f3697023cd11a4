"""The image and the compose file: no Docker engine is needed to see that they hold together."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import yaml
from compose_spec import PyCompose

from app.cli.serve import LAST_ANSWERS_SECONDS, SHUTDOWN_SECONDS
from app.keys import is_loopback
from tests.test_cluster_files import CLOSING_SECONDS

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")


def test_compose_file_follows_the_compose_specification() -> None:
    compose = PyCompose.from_yaml(COMPOSE)
    compose.validate()
    assert sorted(compose.service_names()) == ["sameask", "sameask-gpu"]


def test_image_installs_as_the_makefile_does() -> None:
    """With OpenVINO, but for the image of the GPU, where nothing uses it."""
    installs = re.findall(r"pip install .*-c constraints\.txt -e ('.+')", DOCKERFILE)
    assert installs == [
        "'.[cluster,openvino,training]'",
        "'.[cluster,training]'",
    ]  # whose child process retrains
    assert re.search(
        r"pip install .*-c constraints\.txt -e '\.\[cluster,openvino,training\]'$",
        MAKEFILE,
        re.MULTILINE,
    )


def test_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001"]


def test_image_looks_after_its_health_at_the_port_that_is_set(tmp_path: Path) -> None:
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    _, *arguments = json.loads(check)
    (tmp_path / "livez").write_text("alive")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        environment = os.environ | {"SAMEASK_PORT": str(server.server_port)}
        ended = subprocess.run([sys.executable, *arguments], env=environment)
        server.shutdown()
    assert ended.returncode == 0


def test_everything_the_image_copies_passes_the_ignore_file() -> None:
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    }
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_compose_builds_targets_that_exist_and_publishes_on_loopback() -> None:
    targets = set(re.findall(r"^ +target: (\w+)$", COMPOSE, re.MULTILINE))
    assert targets == {"cpu", "cuda"}
    assert targets <= set(re.findall(r"^FROM \S+ AS ([\w-]+)$", DOCKERFILE, re.MULTILINE))
    assert re.findall(r'^ +- "(.+:8000)"$', COMPOSE, re.MULTILINE) == ["127.0.0.1:8000:8000"]


def test_compose_takes_the_first_admin_key_from_a_secret_that_is_not_in_the_repository() -> None:
    document = yaml.safe_load(COMPOSE)
    service = document["services"]["sameask"]
    (secret,) = service["secrets"]
    assert service["environment"] == {
        "SAMEASK_ADMIN_KEY_FILE": f"/run/secrets/{secret}",
        "FORWARDED_ALLOW_IPS": "*",
    }
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert grace >= SHUTDOWN_SECONDS + LAST_ANSWERS_SECONDS + CLOSING_SECONDS
    assert document["services"]["sameask-gpu"]["extends"] == {"service": "sameask"}
    assert document["secrets"] == {secret: {"file": "./secrets/admin-key"}}
    assert "/secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert not (ROOT / ".dockerignore").read_text("utf-8").count("!secrets")


def test_image_listens_where_a_key_is_needed_and_holds_none() -> None:
    (host,) = re.findall(r"SAMEASK_HOST=(\S+)", DOCKERFILE)
    assert not is_loopback(host)
    assert re.findall(r"^(?:ENV|ARG| +SAMEASK_).*KEY", DOCKERFILE, re.MULTILINE) == []


def test_the_command_that_makes_the_first_admin_key_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert "openssl rand -hex 32 > secrets/admin-key" in page
