"""What a browser with htmx sends to the pages."""

from typing import Any

from starlette.testclient import TestClient

from tests.web.markup import Element, parsed

HTMX = {"HX-Request": "true"}


def shown(client: TestClient, path: str, **parameters: str) -> Element:
    """A whole page."""
    response = client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return parsed(response.text)


def post(client: TestClient, path: str, **fields: str) -> Any:
    """A part of a page, asked for by htmx."""
    return client.post(path, data=fields, headers=HTMX)


def part(client: TestClient, path: str, **fields: str) -> Element:
    """A part of a page, that came."""
    response = post(client, path, **fields)
    assert response.status_code == 200, response.text
    return parsed(response.text)


def texts(elements: list[Element]) -> list[str]:
    """The words in each."""
    return [element.text for element in elements]


def fields_of(form: Element) -> dict[str, Any]:
    """What a form would send, save for the button that is pressed."""
    return {field["name"]: field["value"] for field in form.all("input", type="hidden")}
