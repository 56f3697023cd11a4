"""Who may: every route with every kind of key and with none, and a service that no key was made for yet."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.data_directory import DATABASE, locked, shared
from app.engine.release import Release
from app.errors import AdminKeyRefused, KeysNeeded
from app.http.access import SCOPES
from app.keys import make_key
from app.main import create_app
from app.scopes import KeyScope
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.engine.test_store import behind_its_back
from tests.fuzz import Counted, Report
from tests.raw_http import fuzz_raw
from tests.serving import PROBLEM, app_of, write

ADMIN_KEY = "an administrator's first key".replace(" ", "-") + "-in-a-file"
ALL = {"ask", "read", "write", "label", "admin"}

# What each kind of key is good for; None: it is no key, or none any more.
HOLDERS: Mapping[str, set[str] | None] = {
    "nobody": None,
    "unknown": None,
    "nonsense": None,
    "revoked": None,
    "ask": {"ask"},
    "read": {"ask", "read"},
    "write": {"write"},
    "label": {"label"},
    "admin": ALL,
    "label and read": {"ask", "label", "read"},
    "admin's file": ALL,
}

EXPECTED = {
    "GET /docs": None,
    "GET /docs/assets": None,
    "GET /openapi.json": None,
    "GET /livez": None,
    "GET /readyz": None,
    "GET /metrics": "read",
    "POST /duplicates": "ask",
    "POST /pair-score": "ask",
    "POST /v1/embeddings": "read",
    "GET /questions": "read",
    "GET /questions/{id:path}": "read",
    "GET /collections": "read",
    "GET /collections/{name}": "read",
    "GET /collections/{name}/evidence": "read",
    "GET /labels": "read",
    "POST /questions": "write",
    "DELETE /questions/{id:path}": "write",
    "PUT /collections/{name}": "write",
    "DELETE /collections/{name}": "write",
    "DELETE /collections/{name}/asked": "write",
    "POST /labels": "label",
    "DELETE /labels/{id}": "label",
    "GET /collections/{name}/review-queue": "label",
    "POST /collections/{name}/review-queue/skip": "label",
    "POST /admin/retrain": "admin",
    "GET /admin/training-runs": "admin",
    "GET /admin/training-runs/{id}": "admin",
    "GET /admin/training-runs/{id}/events": "admin",
    "POST /admin/training-runs/{id}/cancel": "admin",
    "POST /admin/training-runs/{id}/resume": "admin",
    "GET /admin/releases": "admin",
    "GET /admin/releases/shadow": "admin",
    "PUT /admin/releases/shadow": "admin",
    "DELETE /admin/releases/shadow": "admin",
    "GET /admin/releases/live": "admin",
    "PUT /admin/releases/live": "admin",
    "POST /admin/releases/live/rollback": "admin",
    "GET /admin/releases/{name:release}/diff": "admin",
    "DELETE /admin/releases/{name:release}": "admin",
}


def label(route: RouteContext) -> str:
    """`GET /path` of a route; of files it is their folder."""
    return f"{min((route.methods or {'GET'}) - {'HEAD'})} {route.path}"


ROUTES = list(iter_route_contexts(create_app(Settings()).routes))
EACH_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=label)


@dataclass(frozen=True)
class House:
    """A running service, and the keys to it."""

    client: TestClient
    keys: Mapping[str, str | None]

    def request(self, holder: str, method: str, path: str, **arguments: Any) -> Any:
        """The answer to somebody who has this kind of key."""
        key = self.keys[holder]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self.client.request(
            method, path, headers=headers, follow_redirects=False, **arguments
        )


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def running(settings: Settings, **changes: object) -> Iterator[TestClient]:
    """The service, ready, with some settings changed."""
    with TestClient(create_app(settings.model_copy(update=changes))) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, tiny_release: Release) -> Iterator[House]:
    """A service with keys of every kind."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "admin-key").write_text(ADMIN_KEY + "\n")
    with locked(folder / "data") as store:
        keys: dict[str, str | None] = {
            scope.value: make_key(store, [scope])[1] for scope in KeyScope
        }
        keys["label and read"] = make_key(store, [KeyScope.LABEL, KeyScope.READ])[1]
        keys["anna's"] = make_key(store, [KeyScope.LABEL, KeyScope.READ], "anna")[1]
        keys["the chief's"] = make_key(store, [KeyScope.ADMIN], "chief")[1]
        kept, keys["revoked"] = make_key(store, [KeyScope.ADMIN])
        store.keys.revoke(kept.id)
    unknown = f"sameask_{'0' * 16}_{'0' * 64}"
    keys |= {"nobody": None, "unknown": unknown, "nonsense": "let me in", "admin's file": ADMIN_KEY}
    settings = Settings(data_dir=folder / "data", release=tiny_release.path, device="cpu")
    with running(settings, admin_key_file=folder / "admin-key") as client:
        yield House(client, keys)


def assert_refused(response: Any, status: int, title: str, challenge: str) -> None:
    """The answer is the problem document of a refusal, with its challenge."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert (response.json()["status"], response.json()["title"]) == (status, title)
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="sameask"{challenge}'


# Every route, every kind of key


@pytest.mark.parametrize("holder", HOLDERS)
@EACH_ROUTE
def test_a_route_lets_in_who_has_its_scope_and_nobody_else(
    house: House, route: RouteContext, holder: str
) -> None:
    method, path = label(route).split()
    path = re.sub(r"\{[^}]*\}", "a", path) + "/swagger-ui.css" * (route.name == "assets")
    response = house.request(holder, method, path)
    needed, held = SCOPES[str(route.name)], HOLDERS[holder]
    if needed is None or (held and needed in held):
        assert response.status_code not in (401, 403, 421)
    elif held:
        assert_refused(
            response, 403, "Scope missing", f', error="insufficient_scope", scope="{needed}"'
        )
        assert response.json()["detail"] == f"this needs a key with the scope '{needed}'"
    elif holder == "nobody":
        assert_refused(response, 401, "Key missing", "")
    else:
        assert_refused(response, 401, "Key refused", ', error="invalid_token"')


def test_each_route_has_the_scope_that_it_should() -> None:
    assert {label(route): SCOPES[str(route.name)] for route in ROUTES} == EXPECTED


def test_with_the_right_key_it_answers(house: House) -> None:
    questions = {"questions": [{"id": "a", "text": "Can I cancel my order?"}]}
    asked = {"questions": ["can i cancel my order?"]}
    assert house.request("write", "POST", "/questions", json=questions).json()["added"] == 1
    found = house.request("read", "POST", "/duplicates", json=asked).json()["results"]
    assert [candidate["id"] for candidate in found[0]["candidates"]] == ["a"]
    assert house.request("read", "DELETE", "/questions/a").status_code == 403
    assert (
        house.request("label and read", "GET", "/questions/a").json()["text"]
        == "Can I cancel my order?"
    )
    assert house.request("admin's file", "DELETE", "/questions/a").status_code == 200


def test_labels_are_given_and_undone_with_one_scope_and_read_with_another(house: House) -> None:
    said = {"labels": [{"questions": ["One?", "Two?"], "is_duplicate": True, "by": "anna"}]}
    (given,) = house.request("label", "POST", "/labels", json=said).json()["labels"]
    assert house.request("write", "POST", "/labels", json=said).status_code == 403
    assert house.request("label", "GET", "/labels").status_code == 403
    assert [given["id"]] == [
        one["id"] for one in house.request("read", "GET", "/labels").json()["labels"]
    ]
    undone = house.request(
        "label and read", "DELETE", f"/labels/{given['id']}", params={"by": "anna"}
    )
    assert undone.json()["ended"]["by"] == "anna"


OWN = {"status": 403, "title": "Key speaks for itself"}


def test_a_key_with_a_name_speaks_for_itself_alone(house: House) -> None:
    pair = {"questions": ["Who is it?", "Who was it?"], "is_duplicate": True}

    def say(holder: str, **more: str) -> Any:
        return house.request(holder, "POST", "/labels", json={"labels": [pair | more]})

    def undo(holder: str, label: Any, **more: str) -> Any:
        (given,) = label.json()["labels"]
        return house.request(holder, "DELETE", f"/labels/{given['id']}", params=more)

    own, named = say("anna's"), say("anna's", by="anna")
    assert (own.json()["added"], named.json()["unchanged"]) == (1, 1)
    refused = say("anna's", by="bob")
    assert refused.json() == OWN | {
        "type": "about:blank",
        "detail": "the key speaks for 'anna', not for 'bob': one with the scope 'admin', or without a name, does",
    }
    bobs, chiefs = say("label", by="bob"), say("the chief's")
    assert undo("anna's", bobs).json() == OWN | {
        "type": "about:blank",
        "detail": "the key speaks for 'anna', not for whoever gave this label: one with the scope 'admin', or without a"
        " name, does",
    }
    assert undo("anna's", own, by="bob").json()["title"] == OWN["title"]
    assert undo("anna's", own).json()["ended"]["by"] == "anna"
    assert undo("the chief's", bobs).json()["ended"]["by"] == "chief"
    assert undo("label", chiefs, by="bob").json()["ended"]["by"] == "bob"
    (missing,) = say("label").json()["errors"]
    assert missing == {"field": "labels.0.by", "detail": "is missing, and the key has no name"}


def test_undoing_tells_what_is_stored_to_who_may_read_alone(house: House) -> None:
    stored = [{"id": "secret", "text": "What is stored?"}, {"id": "other", "text": "Other?"}]
    house.request("write", "POST", "/questions", json={"questions": stored})
    said = {"ids": ["secret", "other"], "is_duplicate": True, "note": "A note."}

    def undone(holder: str, given_by: str, by: str) -> Any:
        label = {"labels": [said | {"by": given_by}]}
        (given,) = house.request("label", "POST", "/labels", json=label).json()["labels"]
        path = f"/labels/{given['id']}"
        answer = house.request(holder, "DELETE", path, params={"by": by}).json()
        return answer, house.request("label", "DELETE", path, params={"by": "dora"}).json()

    bobs, again = undone("label", "bob", "carla")
    assert (bobs["questions"], bobs["note"], bobs["by"]) == ([], None, "a person")
    assert (bobs["ended"]["by"], again["ended"]["by"]) == ("carla", "a person")
    own, _ = undone("label", "carla", "carla")
    assert (own["questions"], own["note"], own["by"]) == ([], None, "carla")
    read, again = undone("label and read", "bob", "carla")
    assert (read["note"], read["by"], read["ended"]["by"]) == ("A note.", "bob", "carla")
    assert read["questions"] == [one["text"] for one in stored]
    assert again["questions"] == []
    for one in stored:
        house.request("write", "DELETE", f"/questions/{one['id']}")


def test_the_queue_is_that_of_the_key_s_name(house: House) -> None:
    address = "/collections/default/review-queue"
    assert house.request("anna's", "GET", address).status_code == 200
    assert house.request("anna's", "GET", address, params={"by": "bob"}).status_code == 403
    assert house.request("label", "GET", address).status_code == 422
    skipped = house.request("anna's", "POST", f"{address}/skip", json={"id": 1, "by": "bob"})
    assert skipped.json()["title"] == OWN["title"]


def test_a_key_for_asking_alone_learns_no_names(house: House) -> None:
    pair = ["How do I pay?", "How can I pay?"]
    said = {"labels": [{"questions": pair, "is_duplicate": True, "by": "anna"}]}
    assert house.request("label", "POST", "/labels", json=said).status_code == 200
    stored = {"questions": [{"id": "pay", "text": pair[1]}]}
    assert house.request("write", "POST", "/questions", json=stored).status_code == 200
    scored = {"pairs": [{"question1": pair[0], "question2": pair[1]}]}
    for holder, name in (("read", "anna"), ("ask", "a person")):
        scores = house.request(holder, "POST", "/pair-score", json=scored).json()["scores"]
        asked = house.request(holder, "POST", "/duplicates", json={"questions": pair[:1]}).json()
        for one in (scores[0], asked["results"][0]["candidates"][0]):
            assert one["label"]["by"] == name
            assert one["reasons"][0]["sentence"].startswith(f"{name} said so on ")
            assert ("anna" in str(one)) == (holder == "read")
    assert house.request("admin's file", "DELETE", "/questions/pay").status_code == 200


@pytest.mark.parametrize("path", ["/nowhere", "/nowhere/", "/collections/a/b"])
def test_what_is_not_there_is_told_to_who_has_a_key(house: House, path: str) -> None:
    assert_refused(house.request("nobody", "GET", path), 401, "Key missing", "")
    assert house.request("label", "GET", path).status_code == 404


def test_a_wrong_method_is_told_to_who_has_a_key(house: House) -> None:
    assert_refused(
        house.request("revoked", "PATCH", "/questions"),
        401,
        "Key refused",
        ', error="invalid_token"',
    )
    assert house.request("label", "PATCH", "/questions").headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("header", "title"),
    [
        (b"Bearer %s", None),
        (b"bearer %s", None),
        (b"BEARER   %s ", None),
        (b"", "Key missing"),
        (b"Bearer", "Key missing"),
        (b"Bearer ", "Key missing"),
        (b"%s", "Key missing"),
        (b"Basic %s", "Key missing"),
        (b"Bearer%s", "Key missing"),
        (b"Bearer %s%s", "Key refused"),
        (b"Bearer %s, Bearer %s", "Key refused"),
        (b"Bearer \xff%s", "Key refused"),
        (b"Bearer " + b"x" * 50_000, "Key refused"),
    ],
)
def test_the_header_is_read_as_rfc_6750_writes_it(
    house: House, header: bytes, title: str | None
) -> None:
    value = header.replace(b"%s", str(house.keys["read"]).encode())
    response = house.client.get("/collections/default", headers=[(b"authorization", value)])
    assert response.status_code == (401 if title else 200)
    assert response.json().get("title") == title


def test_a_key_is_taken_from_nowhere_but_the_header(house: House) -> None:
    key = house.keys["admin"]
    for path in (f"/questions?access_token={key}", f"/questions?key={key}"):
        assert house.client.get(path).status_code == 401
    assert (
        house.client.get(
            "/questions", headers={"Cookie": f"key={key}", "X-API-Key": str(key)}
        ).status_code
        == 401
    )


def test_nothing_of_a_body_is_read_before_the_key_is_checked(house: House) -> None:
    sent = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/questions",
        "headers": [],
        "query_string": b"",
    }
    assert house.client.portal is not None
    house.client.portal.call(app_of(house.client), scope, receive, send)
    assert sent[0]["status"] == 401


def test_a_web_socket_never_comes_in(house: House) -> None:
    with pytest.raises(WebSocketDisconnect) as refusal, house.client.websocket_connect("/livez"):
        pass
    assert refusal.value.code == 1008


def test_refusals_are_counted_under_their_routes_and_no_key_is_in_the_metrics(house: House) -> None:
    for holder in ("nobody", "revoked", "label"):
        house.request(holder, "DELETE", "/questions/some/id")
    exposition = house.request("read", "GET", "/metrics").text
    counted = re.findall(
        r'_count\{method="DELETE",route="/questions/\{id:path\}",status="(401|403)"\} (\S+)',
        exposition,
    )
    assert {status: float(times) >= 1 for status, times in counted} == {"401": True, "403": True}
    for key in filter(None, house.keys.values()):
        assert key not in exposition


@pytest.mark.timeout(600)
def test_raw_requests_without_a_key_change_nothing(house: House) -> None:
    report = Report()
    client = TestClient(app_of(house.client), headers=bearer(ADMIN_KEY))
    client.portal = house.client.portal
    fuzz_raw(client, Counted(app_of(house.client), report), examples=100, seed=0)
    guarded_paths = {str(route.path) for route in ROUTES if SCOPES[str(route.name)]}
    answered = {status for _, path, status in report.sent if path in guarded_paths}
    assert answered == {401}, report.table()
    assert report.requests >= 100


# Forgetting a scope


async def something() -> str:
    """A route that somebody adds."""
    return "something"


@pytest.mark.parametrize("name", ["forgotten", "livez"])
def test_the_service_does_not_start_with_a_route_that_has_no_scope_of_its_own(
    settings: Settings, name: str
) -> None:
    app = create_app(settings)
    app.add_api_route("/forgotten", something, name=name)
    with pytest.raises(LookupError, match=rf"\['{name}'\]"), TestClient(app):
        pass
    assert not settings.data_dir.exists()


def test_the_service_does_not_start_with_a_scope_for_no_route(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.access.SCOPES", {**SCOPES, "gone": None})
    with pytest.raises(LookupError, match=r"\['gone'\]"), TestClient(create_app(settings)):
        pass


# No key made yet


def test_on_loopback_nothing_needs_a_key_until_the_first_is_made(settings: Settings) -> None:
    with running(settings) as client:
        write(client, a="One?")
        assert client.get("/questions/a", headers=bearer("unknown")).status_code == 200
        with shared(settings.data_dir, settings.store_url) as store:
            kept, key = make_key(store, [KeyScope.READ])
        assert client.get("/questions/a").status_code == 401
        assert client.get("/questions/a", headers=bearer("unknown")).status_code == 401
        assert client.get("/questions/a", headers=bearer(key)).json()["text"] == "One?"
        with shared(settings.data_dir, settings.store_url) as store:
            store.keys.revoke(kept.id)
        assert client.get("/questions/a", headers=bearer(key)).status_code == 401
        assert client.get("/questions/a").status_code == 401  # revoking the last one opens nothing
    with running(settings) as client:
        assert client.get("/questions/a").status_code == 401


def test_an_address_that_others_reach_is_not_served_without_keys(settings: Settings) -> None:
    with pytest.raises(KeysNeeded, match="sameask keys create"), running(settings, host="0.0.0.0"):
        pass
    with shared(settings.data_dir, settings.store_url) as store:
        _, key = make_key(store, [KeyScope.READ])
    with running(settings, host="0.0.0.0") as client:
        assert client.get("/collections").status_code == 401
        assert client.get("/collections", headers=bearer(key)).status_code == 200


def test_the_first_admin_key_comes_from_a_file(settings: Settings) -> None:
    file = settings.data_dir.with_name("secret")
    file.write_text("too short")
    with pytest.raises(AdminKeyRefused), running(settings, admin_key_file=file):
        pass
    file.write_text(ADMIN_KEY)
    with running(settings, host="0.0.0.0", admin_key_file=file) as client:
        assert client.get("/collections").status_code == 401
        assert client.get("/collections", headers=bearer(ADMIN_KEY)).status_code == 200
    with running(settings, admin_key_file=file) as client:
        assert client.get("/collections").status_code == 401


HOSTS = {
    "127.0.0.1": 200,
    "127.0.0.1:8000": 200,
    "[::1]:8000": 200,
    "LocalHost:1": 200,
    "faq.intern": 200,
    "FAQ.intern:8000": 200,
    "": 421,
    "rebound.example": 421,
    "rebound.example:8000": 421,
    "127.0.0.1.rebound.example": 421,
    "localhost@rebound.example": 421,
    "rebound.example@localhost.": 421,
    "192.0.2.1": 421,
    "[::1": 421,
    "a b": 421,
}


def test_without_keys_it_answers_under_names_of_its_own_alone(settings: Settings) -> None:
    with running(settings, allowed_hosts=" faq.intern, testserver,,") as client:
        answers = {host: client.get("/collections", headers={"Host": host}) for host in HOSTS}
        assert {host: answer.status_code for host, answer in answers.items()} == HOSTS
        refused = answers["rebound.example"]
        assert (refused.json()["title"], refused.headers["content-type"]) == (
            "Host refused",
            PROBLEM,
        )
        assert client.get("/livez", headers={"Host": "rebound.example"}).status_code == 200
        with shared(settings.data_dir, settings.store_url) as store:
            _, key = make_key(store, [KeyScope.READ])
        headers = {"Host": "rebound.example", **bearer(key)}
        assert client.get("/collections", headers=headers).status_code == 200


ORIGINS = {
    "http://localhost:3000": 200,
    "https://[::1]": 200,
    "http://faq.intern": 200,
    "https://other.example": 421,
    "http://127.0.0.1.other.example": 421,
    "http://[": 421,
    "null": 421,
    "": 421,
}


def test_without_keys_it_answers_no_page_of_another_server(settings: Settings) -> None:
    body = {"questions": [{"id": "a", "text": "One?"}]}
    with running(settings, allowed_hosts="testserver,faq.intern") as client:
        found = {
            origin: client.post("/questions", json=body, headers={"Origin": origin})
            for origin in ORIGINS
        }
        assert {origin: answer.status_code for origin, answer in found.items()} == ORIGINS
        with shared(settings.data_dir, settings.store_url) as store:
            _, key = make_key(store, [KeyScope.READ])
        headers = {"Origin": "https://other.example", **bearer(key)}
        assert client.get("/questions/a", headers=headers).status_code == 200


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_a_page_may_send_unasked_is_not_read_as_json(
    settings: Settings, content_type: str | None
) -> None:
    body = b'{"questions": [{"id": "a", "text": "One?"}]}'
    with running(settings) as client:
        headers = {"Content-Type": content_type} if content_type else {}
        assert client.post("/questions", content=body, headers=headers).status_code == 415
        assert client.get("/questions").json()["questions"] == []


@pytest.mark.parametrize(
    ("client_host", "status"),
    [
        ("127.0.0.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("", 200),
        ("192.0.2.1", 401),
        ("2001:db8::1", 401),
    ],
)
def test_without_keys_it_answers_this_machine_alone(
    settings: Settings, client_host: str, status: int
) -> None:
    with running(settings) as client:
        elsewhere = TestClient(app_of(client), client=(client_host, 1))
        assert elsewhere.get("/collections/default").status_code == status
        assert elsewhere.get("/livez").status_code == 200


def test_in_place_no_key_is_needed(settings: Settings) -> None:
    with shared(settings.data_dir, settings.store_url) as store:
        make_key(store, [KeyScope.READ])
    app = create_app(settings.model_copy(update={"host": "0.0.0.0"}), in_place=True)
    with TestClient(app) as client:
        assert client.get("/collections/default").status_code == 200


@pytest.mark.data_directory
def test_a_damaged_key_is_refused_as_such_and_others_open(settings: Settings) -> None:
    with shared(settings.data_dir, settings.store_url) as store:
        (kept, key), (_, other) = make_key(store, [KeyScope.READ]), make_key(store, [KeyScope.READ])
    behind_its_back(
        settings.data_dir / DATABASE, "UPDATE keys SET scopes = 'admin' WHERE id = ?", kept.id
    )
    with running(settings) as client:
        response = client.get("/collections", headers=bearer(key))
        assert (response.status_code, response.headers["content-type"]) == (503, PROBLEM)
        assert (
            response.json()["detail"]
            == f"the row of key '{kept.id}' fails its checksum: revoke it, and make another"
        )
        assert client.get("/collections", headers=bearer(other)).status_code == 200
        assert client.get("/collections").status_code == 401


@pytest.mark.data_directory
def test_a_known_key_is_let_in_without_a_thread_and_out_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise LookupError("every thread is busy")

    with shared(settings.data_dir, settings.store_url) as store, running(settings) as client:
        kept, key = make_key(store, [KeyScope.READ])
        for headers, status in ((bearer(key), 200), ({}, 401)):
            assert client.get("/collections", headers=headers).status_code == status
        with monkeypatch.context() as patch:
            patch.setattr("app.http.access.run_in_threadpool", busy)
            assert client.get("/collections", headers=bearer(key)).status_code == 200
            assert client.post("/admin/retrain", headers=bearer(key)).status_code == 403
            assert client.get("/collections").status_code == 401
        store.keys.revoke(kept.id)
        assert client.get("/collections", headers=bearer(key)).status_code == 401


def test_a_fault_at_the_door_lets_nobody_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("xyzzy")

    with running(settings) as client:
        monkeypatch.setattr("app.keys.Keys.are_needed", fail)
        response = client.get("/collections")
    assert (response.status_code, response.headers["content-type"]) == (500, PROBLEM)
    assert "xyzzy" not in response.text


# The document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The OpenAPI document, as JSON."""
    app: FastAPI = create_app(Settings())
    return dict(json.loads(json.dumps(app.openapi())))


def test_the_document_says_how_a_key_is_sent(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_the_document_says_which_scope_each_operation_needs(document: dict[str, Any]) -> None:
    problem = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    documented = {re.sub(r":\w+\}", "}", route): scope for route, scope in EXPECTED.items()}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            scope = documented[f"{method.upper()} {path}"]
            assert operation.get("security") == ([{"key": [scope]}] if scope else None)
            assert operation["description"].endswith(f"Needs a key with the scope `{scope}`.") is (
                scope is not None
            )
            for status in ("401", "403", "421"):
                assert (operation["responses"].get(status, {}).get("content") == problem) is (
                    scope is not None
                )
