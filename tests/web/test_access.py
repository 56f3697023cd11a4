"""Who may: sign in, scopes by page, tokens, and a key that is revoked while somebody works with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.data_directory import locked, shared
from app.keys import make_key
from app.main import MAX_STRANGER_BYTES, create_app
from app.scopes import KeyScope
from app.settings import Settings
from app.web.access import SCOPES
from app.web.pages import ROOMS
from tests.conftest import wait_until_ready
from tests.serving import app_of, write
from tests.web.browsing import HTMX, shown, texts
from tests.web.markup import parsed

KEYS: dict[str, list[KeyScope]] = {
    "ask": [KeyScope.ASK],
    "read": [KeyScope.READ],
    "label": [KeyScope.READ, KeyScope.LABEL],
    "write": [KeyScope.READ, KeyScope.WRITE],
    "admin": [KeyScope.ADMIN],
}


@dataclass(frozen=True)
class House:
    """A service with keys, and the keys by what they are for."""

    client: TestClient
    keys: dict[str, str]

    def browser(self) -> TestClient:
        """Another browser, with no cookie."""
        browser = TestClient(app_of(self.client), follow_redirects=False)
        browser.portal = self.client.portal
        browser.headers["Accept"] = "text/html"
        return browser

    def signed_in(self, holder: str) -> TestClient:
        """A browser in which somebody has signed in."""
        browser = self.browser()
        assert sign_in(browser, self.keys[holder]).status_code == 303
        return browser


def sign_in(browser: TestClient, key: str, back: str = "") -> Any:
    """What signing in with a key is answered with."""
    form = shown(browser, "/page/sign-in", back=back).one("form")
    fields = {field["name"]: field["value"] for field in form.all("input", type="hidden")}
    return browser.post("/page/sign-in", data={**fields, "key": key})


def token_of(browser: TestClient) -> str:
    """The token that posts of this session carry."""
    field = shown(browser, "/").all("input", name="csrf")[0]
    return field["value"]


@pytest.fixture(scope="module")
def house(page_settings: Settings) -> Iterator[House]:
    """A service with keys of every kind."""
    settings = page_settings.model_copy(
        update={"data_dir": page_settings.data_dir.with_name("with-keys")}
    )
    with locked(settings.data_dir, settings.store_url) as store:
        keys = {name: make_key(store, scopes, name)[1] for name, scopes in KEYS.items()}
    with TestClient(create_app(settings), follow_redirects=False) as client:
        wait_until_ready(client)
        client.headers["Authorization"] = f"Bearer {keys['admin']}"
        write(client, a="How do I pay?", b="How can I pay?")
        yield House(client, keys)


def test_every_page_has_a_scope() -> None:
    names = [str(route.name) for room in ROOMS for route in room.router.routes]
    assert sorted(names) == sorted(SCOPES)


def test_who_has_no_session_signs_in_and_comes_back(house: House) -> None:
    browser = house.browser()
    led = browser.get("/page/compare?a=a&b=b")
    assert led.status_code == 303
    assert led.headers["location"] == "/page/sign-in?back=%2Fpage%2Fcompare%3Fa%3Da%26b%3Db"
    answer = sign_in(browser, house.keys["read"], back="/page/compare?a=a&b=b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/page/compare?a=a&b=b")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("sameask_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert house.keys["read"] not in str(answer.headers)
    assert shown(browser, "/page/compare", a="a", b="b").one("h1").text == "Compare"


@pytest.mark.parametrize("back", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_nobody_is_led_to_another_server(house: House, back: str) -> None:
    answer = sign_in(house.browser(), house.keys["read"], back=back)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("key", ["", "nonsense", f"sameask_{'0' * 16}_{'0' * 64}"])
def test_a_wrong_key_is_told_beside_its_field(house: House, key: str) -> None:
    answer = sign_in(house.browser(), key)
    assert answer.status_code == 403
    page = parsed(answer.text)
    assert page.one("p", class_="field-error").text == "the key is unknown or revoked"
    assert page.one("input", id="key")["aria-invalid"] == "true"


def test_signing_in_needs_the_token_of_its_form(house: House) -> None:
    answer = house.browser().post("/page/sign-in", data={"key": house.keys["read"]})
    assert answer.status_code == 403
    assert "sameask_session" not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    ("method", "path", "most"),
    [
        ("POST", "/page/sign-in", MAX_STRANGER_BYTES),
        ("POST", "/page/static/a", MAX_STRANGER_BYTES),
        ("GET", "/page/sign-in", 0),
        ("GET", "/livez", 0),
        ("GET", "/openapi.json", 0),
        ("POST", "/page/ask", 0),
    ],
)
def test_little_is_read_of_who_has_not_signed_in(
    house: House, method: str, path: str, most: int
) -> None:
    read, sent = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 2**10
        return {"type": "http.request", "body": b" " * 2**10, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "server": ("localhost", 80),
    }
    assert house.client.portal is not None
    house.client.portal.call(app_of(house.client), scope, receive, send)
    assert read <= most + 2**10 * bool(most)
    assert (sent[0]["status"] == 413) is bool(most)


def test_a_post_needs_the_token_of_its_session(house: House) -> None:
    browser = house.signed_in("label")
    fields = {
        "first": "How do I pay?",
        "second": "How can I pay?",
        "is_duplicate": "true",
    }
    others = token_of(house.signed_in("label"))
    for token in ("", "wrong", others):
        refused = browser.post(
            "/page/compare/label", data=fields, headers={**HTMX, "X-CSRF-Token": token}
        )
        assert refused.status_code == 403
        assert "load it again" in refused.text
        assert "data-renews" in refused.text
    assert browser.post("/page/compare/label", data=fields, headers=HTMX).status_code == 403
    token = token_of(browser)
    said = browser.post("/page/compare/label", data=fields, headers={**HTMX, "X-CSRF-Token": token})
    assert said.status_code == 200
    (label,) = house.client.get("/labels").json()["labels"]
    assert label["by"] == "label"
    undo = {**fields, "label": str(label["id"]), "csrf": token}
    assert browser.post("/page/compare/undo", data=undo, headers=HTMX).status_code == 200


def test_a_session_ends_when_its_key_is_revoked(house: House) -> None:
    settings: Settings = app_of(house.client).state.settings
    with shared(settings.data_dir, settings.store_url) as store:
        kept, key = make_key(store, [KeyScope.READ], "short")
    browser = house.browser()
    sign_in(browser, key)
    assert browser.get("/").status_code == 200
    with shared(settings.data_dir, settings.store_url) as store:
        store.keys.revoke(kept.id)
    part = browser.post("/page/ask", data={"question": "One?"}, headers=HTMX)
    assert part.status_code == 401
    assert "<html" not in part.text
    assert parsed(part.text).one("a").text == "Sign in in another tab"
    assert browser.get("/").status_code == 303


def test_signing_out_ends_the_session(house: House) -> None:
    browser = house.signed_in("read")
    answer = browser.post("/page/sign-out", data={"csrf": token_of(browser)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/page/sign-in")
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("holder", KEYS)
@pytest.mark.parametrize("name", [name for name, scope in SCOPES.items() if scope])
def test_a_page_lets_in_who_has_its_scope_and_nobody_else(
    house: House, name: str, holder: str
) -> None:
    route = next(r for room in ROOMS for r in room.router.routes if r.name == name)
    browser = house.signed_in(holder)
    (method,) = route.methods
    headers = HTMX if method == "GET" else {**HTMX, "X-CSRF-Token": token_of(browser)}
    response = browser.request(method, route.path, headers=headers)
    scope = SCOPES[name]
    implied = {KeyScope.ASK} if KeyScope.READ in KEYS[holder] else set()
    is_admin = KeyScope.ADMIN in KEYS[holder]
    if is_admin or scope in {*KEYS[holder], *implied}:
        assert response.status_code not in (401, 403)
    else:
        assert response.status_code == 403
        assert f"this needs a key with the scope &#39;{scope}&#39;" in response.text


def test_what_a_key_may_not_do_is_disabled_with_the_reason(house: House) -> None:
    page = shown(house.signed_in("read"), "/page/compare", a="a", b="b")
    word = page.one("div", class_="word")
    assert ["disabled" in button.attributes for button in word.all("button")] == [True, True]
    assert texts(word.all("p", class_="beside")) == ["this needs a key with the scope 'label'"]
    may = shown(house.signed_in("label"), "/page/compare", a="a", b="b")
    assert not any("disabled" in b.attributes for b in may.one("form", class_="say").all("button"))


def test_a_key_for_asking_alone_sees_no_names(house: House) -> None:
    said = {"labels": [{"ids": ["a", "b"], "is_duplicate": True, "by": "anna"}]}
    (given,) = house.client.post("/labels", json=said).json()["labels"]
    for holder, sees in (("read", True), ("ask", False)):
        browser = house.signed_in(holder)
        token = token_of(browser)
        compared = browser.post(
            "/page/compare",
            data={"first": "How do I pay?", "second": "How can I pay?", "csrf": token},
        )
        asked = browser.post(
            "/page/ask",
            data={"question": "How do I pay?"},
            headers={**HTMX, "X-CSRF-Token": token},
        )
        assert ("anna" in compared.text) is sees
        assert ("anna" in asked.text) is sees
    house.client.delete(f"/labels/{given['id']}", params={"by": "anna"})


@pytest.mark.parametrize("screen", ["edit", "delete"])
def test_who_may_write_and_not_read_sees_no_stored_text(house: House, screen: str) -> None:
    settings: Settings = app_of(house.client).state.settings
    with shared(settings.data_dir, settings.store_url) as store:
        _, key = make_key(store, [KeyScope.ASK, KeyScope.WRITE], "bot")
    browser = house.browser()
    sign_in(browser, key)
    path = f"/page/questions/{screen}?id=a"
    assert "How do I pay?" in house.signed_in("write").get(path).text
    assert browser.get(path).status_code == 403
    token = token_of(browser)
    fields = {"id": "free", "text": "Is it free?", "csrf": token}
    added = browser.post("/page/questions/add", data=fields, headers=HTMX)
    assert parsed(added.text).one("span", class_="id").text == "free"
    assert parsed(added.text).all("a") == []
    house.client.delete("/questions/free")


@pytest.mark.parametrize("path", ["/?id=a", "/page/compare?a=a&b=b"])
def test_a_key_for_asking_alone_reads_no_question_by_its_id(house: House, path: str) -> None:
    assert "How do I pay?" in house.signed_in("read").get(path).text
    refused = house.signed_in("ask").get(path)
    assert refused.status_code == 403
    assert "this needs a key with the scope &#39;read&#39;" in refused.text


def test_to_a_key_for_asking_alone_an_id_is_a_text(house: House) -> None:
    browser = house.signed_in("ask")
    fields = {"first": "a", "second": "b", "csrf": token_of(browser)}
    compared = browser.post("/page/compare", data=fields)
    assert compared.status_code == 200
    assert texts(parsed(compared.text).all("textarea")) == ["a", "b"]
    assert "id of a stored one" not in compared.text
    led = house.signed_in("read")
    assert led.post("/page/compare", data={**fields, "csrf": token_of(led)}).status_code == 303


def test_a_key_for_asking_alone_compares_with_a_candidate_by_its_text(house: House) -> None:
    house.client.put("/collections/long")
    long = "How do I pay?\n" + "“really” & " * 900
    write(house.client, "long", a=long)
    browser = house.signed_in("ask")
    token = token_of(browser)
    asked = {"question": "How can I pay?", "collection": "long", "csrf": token}
    button = parsed(browser.post("/page/ask", data=asked, headers=HTMX).text).one(
        "button", form="compare-asked"
    )
    fields = {"first": "How can I pay?", "second": button["value"], "collection": "long"}
    compared = browser.post("/page/compare", data={**fields, "csrf": token})
    assert compared.status_code == 200
    assert texts(parsed(compared.text).all("textarea"))[1] == " ".join(long.split())


def test_you_are_told_of_your_own_labels_alone(house: House) -> None:
    settings: Settings = app_of(house.client).state.settings
    with shared(settings.data_dir, settings.store_url) as store:
        _, key = make_key(store, [KeyScope.READ], "anna")
    browser = house.browser()
    sign_in(browser, key)
    for name, told in (("joanna", "joanna said so on"), ("anna", "you said so on")):
        said = {"labels": [{"ids": ["a", "b"], "is_duplicate": True, "by": name}]}
        (given,) = house.client.post("/labels", json=said).json()["labels"]
        judged = shown(browser, "/page/compare", a="a", b="b").one("div", class_="answer")
        assert judged.all("p")[0].text.startswith(told)
        house.client.delete(f"/labels/{given['id']}", params={"by": name})


def test_a_link_on_another_site_loads_the_page_once_more(house: House) -> None:
    browser = house.browser()
    response = browser.get("/page/compare?a=a&b=b", headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 200
    refresh = parsed(response.text).one("meta", http_equiv="refresh")
    assert refresh["content"] == "0; url=/page/compare?a=a&b=b"


def test_without_keys_nobody_signs_in(page_settings: Settings) -> None:
    settings = page_settings.model_copy(
        update={"data_dir": page_settings.data_dir.with_name("keyless")}
    )
    with TestClient(create_app(settings), follow_redirects=False) as client:
        assert client.get("/page/sign-in").headers["location"] == "/"
        page = shown(client, "/")
        assert "no key was ever made" in page.one("header").text
        for headers in ({"Host": "rebound.example"}, {"Origin": "https://evil.example"}):
            refused = client.post("/page/ask", data={"question": "One?"}, headers=headers)
            assert refused.status_code == 421
        assert client.get("/", headers={"Host": "rebound.example"}).status_code == 421
