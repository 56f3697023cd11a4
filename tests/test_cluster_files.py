"""The files for several servers: a compose file and Kubernetes' manifests. No engine is needed to see that they hold
together."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from app.cli.main import COMMANDS
from app.cli.serve import LAST_ANSWERS_SECONDS, SHUTDOWN_SECONDS
from app.http.access import SCOPES
from app.settings import Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE_FILE = DEPLOY / "docker-compose.cluster.yml"
COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text("utf-8"))
OURS = ("migrate", "one", "two", "worker")  # services of the image of this repository
KUBERNETES = ("1.30", "1.37")  # the oldest and the newest that the manifests are for
USER = 10001  # of the image
CLOSING_SECONDS = 15  # a server's, after its last answer


def manifests() -> Iterator[dict[str, Any]]:
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text("utf-8"))


BY_NAME = {(one["kind"], one["metadata"]["name"]): one for one in manifests()}
POD_MAKERS = [one for one in BY_NAME.values() if "template" in one["spec"]]


def pod(kind: str, name: str) -> dict[str, Any]:
    """The pod that a workload makes."""
    template: dict[str, Any] = BY_NAME[kind, name]["spec"]["template"]
    return template


def settings_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings of an environment, by their names in code."""
    ours = {}
    for name, value in environment.items():
        if name.startswith("SAMEASK_"):
            ours[name.removeprefix("SAMEASK_").lower()] = value
    return ours


def environment_of(container: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of a container; what a secret holds is a database's address."""
    return {one["name"]: one.get("value", "postgresql://u@h/d") for one in container["env"]}


def test_compose_file_follows_the_compose_specification() -> None:
    compose = PyCompose.from_yaml(yaml.safe_dump(COMPOSE))  # which resolves merge keys
    compose.validate()
    assert sorted(compose.service_names()) == sorted([*OURS, "postgres", "proxy"])


def test_compose_names_real_settings_commands_and_files() -> None:
    for name in OURS:
        service = COMPOSE["services"][name]
        named = settings_of(service["environment"])
        assert set(named) <= set(Settings.model_fields)
        Settings(**named)
        command = service.get("command", ["sameask", "serve"])
        assert command[0] == "sameask"
        assert command[1] in COMMANDS
        assert service["image"] == "sameask:cpu"
        assert (DEPLOY / service["build"]["context"] / "Dockerfile").is_file()
    assert (DEPLOY / COMPOSE["configs"]["caddyfile"]["file"]).is_file()
    assert COMPOSE["secrets"] == {"sameask-admin-key": {"file": "../secrets/admin-key"}}


def test_compose_serves_twice_trains_once_and_shares_releases() -> None:
    services = COMPOSE["services"]
    data = set()
    for name in ("one", "two", "worker"):
        own, shared = services[name]["volumes"]
        assert own.endswith(":/data")
        data.add(own)
        assert shared == "releases:" + services[name]["environment"]["SAMEASK_RELEASES_DIR"]
        assert services[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"}
        }
        assert services[name]["environment"]["SAMEASK_TRAINING_WORKER"] == "false"
    assert len(data) == 3
    assert services["worker"]["command"] == ["sameask", "worker"]
    assert services["migrate"]["command"] == ["sameask", "migrate"]


def test_compose_holds_no_password_and_publishes_on_loopback() -> None:
    text = COMPOSE_FILE.read_text("utf-8")
    assert "/deploy/.env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    password = "${DATABASE_PASSWORD:?set it in deploy/.env}"
    assert COMPOSE["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == password
    assert COMPOSE["services"]["one"]["environment"]["PGPASSWORD"] == password
    assert re.findall(r"PASSWORD: (.+)$", text, re.MULTILINE) == [password] * 2
    assert COMPOSE["services"]["one"]["environment"]["FORWARDED_ALLOW_IPS"] == "*"
    assert "ports" not in COMPOSE["services"]["one"]  # the proxy alone reaches it
    published = [one.get("ports") for one in COMPOSE["services"].values() if one.get("ports")]
    assert published == [["127.0.0.1:8000:8000"]]


def test_the_proxy_asks_both_and_looks_whether_they_are_ready() -> None:
    caddyfile = (DEPLOY / "Caddyfile").read_text("utf-8")
    assert "reverse_proxy one:8000 two:8000 {" in caddyfile
    assert "health_uri /readyz\n" in caddyfile
    assert "\n:8000 {" in caddyfile
    assert caddyfile.count("{") == caddyfile.count("}")


def test_the_image_has_the_folder_of_shared_releases_for_its_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"install -d -m 700 -o {USER} /data /releases\n" in dockerfile


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", BY_NAME, ids="/".join)
def test_a_manifest_follows_the_schema(name: tuple[str, str], version: str) -> None:
    kubernetes_validate.validate(BY_NAME[name], version, strict=True)


def test_manifests_are_those_of_a_cluster() -> None:
    assert set(BY_NAME) == {
        ("Deployment", "sameask"),
        ("Service", "sameask"),
        ("PodDisruptionBudget", "sameask"),
        ("StatefulSet", "sameask-worker"),
        ("Job", "sameask-migrate"),
        ("PersistentVolumeClaim", "sameask-releases"),
    }


@pytest.mark.parametrize("maker", POD_MAKERS, ids=lambda one: str(one["metadata"]["name"]))
def test_pods_name_real_settings_and_commands_and_run_as_the_images_user(
    maker: dict[str, Any],
) -> None:
    spec = maker["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    named = settings_of(environment_of(container))
    assert set(named) <= set(Settings.model_fields)
    Settings(**named)
    assert container.get("command", ["sameask", "serve"])[0] == "sameask"
    assert container.get("command", ["sameask", "serve"])[1] in COMMANDS
    assert spec["securityContext"]["runAsUser"] == USER
    # Kubernetes would set SAMEASK_PORT and others of the service of that name.
    assert spec["enableServiceLinks"] is False
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    kept = {one["metadata"]["name"] for one in maker["spec"].get("volumeClaimTemplates", [])}
    assert mounted == {volume["name"] for volume in spec["volumes"]} | kept
    by_path = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    if "releases_dir" in named:
        assert by_path[named["releases_dir"]] == "releases"
    if "admin_key_file" in named:
        assert by_path[str(Path(named["admin_key_file"]).parent)] == "secrets"


def test_secrets_are_named_and_never_written_down() -> None:
    for maker in POD_MAKERS:
        (container,) = maker["spec"]["template"]["spec"]["containers"]
        database = next(one for one in container["env"] if one["name"] == "SAMEASK_DATABASE_URL")
        assert database["valueFrom"] == {
            "secretKeyRef": {"name": "sameask-secrets", "key": "database-url"}
        }
    volumes = pod("Deployment", "sameask")["spec"]["volumes"]
    secret = next(one["secret"] for one in volumes if one["name"] == "secrets")
    assert secret["secretName"] == "sameask-secrets"
    assert secret["defaultMode"] == 0o440
    assert secret["items"] == [{"key": "admin-key", "path": "admin-key"}]


def test_a_server_is_looked_at_by_its_routes_and_ends_in_time() -> None:
    server = pod("Deployment", "sameask")
    (container,) = server["spec"]["containers"]
    (port,) = container["ports"]
    probes = {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    for probe, path in probes.items():
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert path.removeprefix("/") in SCOPES
    _, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    needed = int(pause) + SHUTDOWN_SECONDS + LAST_ANSWERS_SECONDS + CLOSING_SECONDS
    assert server["spec"]["terminationGracePeriodSeconds"] >= needed
    grace = int(COMPOSE["services"]["one"]["stop_grace_period"].removesuffix("s"))
    assert grace >= SHUTDOWN_SECONDS + LAST_ANSWERS_SECONDS + CLOSING_SECONDS


def test_service_and_budget_select_the_servers_alone() -> None:
    labels = pod("Deployment", "sameask")["metadata"]["labels"]
    assert BY_NAME["Deployment", "sameask"]["spec"]["selector"] == {"matchLabels": labels}
    assert BY_NAME["Service", "sameask"]["spec"]["selector"] == labels
    budget = BY_NAME["PodDisruptionBudget", "sameask"]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    for kind, name in (("StatefulSet", "sameask-worker"), ("Job", "sameask-migrate")):
        assert pod(kind, name)["metadata"]["labels"] != labels


def test_only_the_worker_trains() -> None:
    servers = environment_of(pod("Deployment", "sameask")["spec"]["containers"][0])
    assert servers["SAMEASK_TRAINING_WORKER"] == "false"
    (worker,) = pod("StatefulSet", "sameask-worker")["spec"]["containers"]
    assert worker["command"] == ["sameask", "worker"]
