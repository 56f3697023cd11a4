"""Every block of the documentation is run, or says why not; and all of them parse and name what is there."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.main import create_app
from app.settings import Settings
from tests.docs.blocks import (
    CLIENT_README,
    DOCS,
    LANGUAGES,
    README,
    ROOT,
    all_blocks,
    blocks_of,
    pages,
)
from tests.docs.commands import unknown_names

# How many blocks say why they are not run, by the first words of what they say.
NOT_RUN = {"installs": 6, "needs": 12, "serves": 4, "takes": 7}
# Variables of the documentation that are no settings of the service.
OTHER_VARIABLES = {"SAMEASK_KEY"}
BY_NAME = re.compile(r"pip install[^`\n]*['\" ]sameask(?![\w./-])")
RECORDED_EVENTS = ROOT / "tests" / "record" / "recorded" / "webhook.jsonl"


def test_every_fence_is_a_block_of_a_known_language() -> None:
    for page in pages():
        text = page.read_text("utf-8")
        fences = len(re.findall(r"^ *```", text, re.MULTILINE))
        assert fences == 2 * len(list(blocks_of("", text))), page
    unknown = [block for block in all_blocks() if block.language not in LANGUAGES]
    assert list(map(str, unknown)) == []


def test_blocks_that_are_not_run_say_why_and_are_counted() -> None:
    counted = Counter(block.why.split()[0] for block in all_blocks() if block.why)
    assert dict(counted) == NOT_RUN


def test_every_shell_block_parses() -> None:
    for block in all_blocks():
        if block.language == "sh":
            parsed = subprocess.run(
                ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
            )
            assert (parsed.returncode, parsed.stderr) == (0, ""), block


def test_every_python_json_and_yaml_block_parses() -> None:
    for block in all_blocks():
        if block.language == "python":
            compile(block.text, str(block), "exec")
        if block.language == "json":
            json.loads(block.text)
        if block.language == "yaml":
            assert yaml.safe_load(block.text), block


def test_commands_and_options_of_blocks_exist() -> None:
    scripts = {str(block): block.text for block in all_blocks() if block.language == "sh"}
    found = {place: list(unknown_names(script)) for place, script in scripts.items()}
    assert {place: names for place, names in found.items() if names} == {}


def test_commands_and_options_of_the_prose_exist() -> None:
    found = {}
    for page in _pages_of_today():
        spans = re.findall(r"`((?:sameask|python -m training) [^`]+)`", page.read_text("utf-8"))
        names = [name for span in spans for name in unknown_names(span)]
        if names:
            found[page.name] = names
    assert found == {}


@pytest.mark.parametrize(
    ("script", "unknown"),
    [
        ("sameask find 'One?' --url X --tpo-k 1", ["sameask find --tpo-k"]),
        (".venv/bin/sameask fnd 'One?'", ["sameask fnd"]),
        ("A=1 sameask runs strat | cat --number", ["sameask runs strat"]),
        ("python -m training split --pairs a \\\n  --seeed 1", ["training split --seeed"]),
        ("x | sameask review --by anna && sameask collections set d --url X", []),
    ],
)
def test_a_name_that_is_not_there_would_be_seen(script: str, unknown: list[str]) -> None:
    assert list(unknown_names(script)) == unknown


def test_sameask_is_installed_from_a_checkout_and_never_by_its_name() -> None:
    places = [README, CLIENT_README, *DOCS.rglob("*.md"), *(ROOT / "app").rglob("*.py")]
    texts = {str(place.relative_to(ROOT)): place.read_text("utf-8") for place in places}
    by_name = {place for place, text in texts.items() if BY_NAME.search(text)}
    assert by_name == set()  # an index has somebody else's package of this name, if any
    assert BY_NAME.search("pip install 'sameask[cluster]'")


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in [*pages(), ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE):
            assert target in targets, (page, target)


def test_settings_that_pages_name_exist() -> None:
    known = {f"SAMEASK_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    for page in _pages_of_today():
        named = set(re.findall(r"\bSAMEASK_[A-Z_]+[A-Z]\b", page.read_text("utf-8")))
        assert named <= known, page


def test_metrics_that_pages_name_exist() -> None:
    known = set(re.findall(r"`(sameask_\w+)`", (DOCS / "reference.md").read_text("utf-8")))
    assert len(known) > 10
    for page in _pages_of_today():
        named = set(re.findall(r"`(sameask_(?!client)\w+)`", page.read_text("utf-8")))
        assert named <= known, page


def test_routes_that_pages_name_exist() -> None:
    known = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method in methods
    }
    assert len(known) > 30
    for page in _pages_of_today():
        for method, path in _routes(page.read_text("utf-8")):
            assert (method, path) in known, (page, method, path)


def test_addresses_of_the_service_that_pages_name_exist() -> None:
    sources = "".join(file.read_text("utf-8") for file in (ROOT / "app").rglob("*.py"))
    known = set(re.findall(r"\.get\(\s*\"(/[^\"]*)\"", sources))
    linked = re.compile(r"<?http://127\.0\.0\.1:8000(/[\w/-]*)[>)]")
    found = {path for page in _pages_of_today() for path in linked.findall(page.read_text("utf-8"))}
    assert "/page/review" in found
    assert found <= {"/", *known}


def _routes(text: str) -> list[tuple[str, str]]:
    """Method and path of each route in a text; of `/a[/{id}]` both."""
    routes = []
    for method, path in re.findall(r"`(GET|PUT|POST|DELETE) (/[^`?… ]+)(?:\?[^`]*)?`", text):
        if path.startswith("/repos/"):  # GitHub's
            continue
        plain = re.sub(r"\{\w+\}", "{}", path)
        routes += [
            (method, way) for way in {re.sub(r"\[.*?\]", "", plain), re.sub(r"[\[\]]", "", plain)}
        ]
    return routes


def test_the_event_of_the_webhook_s_page_has_the_shape_of_real_ones() -> None:
    (event,) = (
        json.loads(block.text)
        for block in all_blocks()
        if block.language == "json" and block.page == "docs/webhook.md"
    )
    lines = RECORDED_EVENTS.read_text("utf-8").splitlines()
    sent = [json.loads(line)["body"] for line in lines]
    assert _shape(event) in [_shape(body) for body in sent if body["event"] == event["event"]]


def test_json_is_compared_with_real_answers() -> None:
    """That of the README is compared by tests/test_readme.py, that of the webhook here."""
    shown = {block.page for block in all_blocks() if block.language == "json"}
    assert shown == {"README.md", "docs/webhook.md"}


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(content) for name, content in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value[:1]]
    return type(value).__name__


def _pages_of_today() -> list[Path]:
    """Decisions tell of what was, and of what was not chosen."""
    return [page for page in pages() if page.parent.name != "decisions"]


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [README]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)#:]+\.md)", page.read_text("utf-8"))
        waiting += [(page.parent / target).resolve() for target in targets]
    pages_of_docs = set(DOCS.rglob("*.md")) - set((DOCS / "decisions").glob("*.md"))
    assert pages_of_docs - reached == set()


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    broken = []
    for page in [*pages(), ROOT / "CONTRIBUTING.md"]:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
            if "://" in target:
                continue
            file = (page.parent / target).resolve() if target else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.name}: {target}#{anchor}")
    assert broken == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[ ]+", "-", heading) for heading in plain}
