"""A page's elements, for tests: found by a tag and attributes, with the text inside."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}


@dataclass
class Element:
    """An element: its tag, its attributes, and what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The words inside, white space collapsed."""
        return " ".join("".join(self._texts()).split())

    def all(self, tag: str, **attributes: str) -> list["Element"]:
        """Every such element inside, in their order; `class_` is one of its classes, `data_x` its `data-x`."""
        matching: list[Element] = []
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and all(child.has(*item) for item in attributes.items()):
                    matching.append(child)
                matching += child.all(tag, **attributes)
        return matching

    def one(self, tag: str, **attributes: str) -> "Element":
        """The only such element inside."""
        (element,) = self.all(tag, **attributes)
        return element

    def has(self, name: str, value: str) -> bool:
        """Whether an attribute has this value."""
        if name == "class_":
            return value in self.attributes.get("class", "").split()
        return self.attributes.get(name.rstrip("_").replace("_", "-")) == value

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def _texts(self) -> list[str]:
        texts: list[str] = []
        for child in self.children:
            texts += child._texts() if isinstance(child, Element) else [child]
        return texts


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        element = self._open.pop()
        assert element.tag == tag, f"</{tag}> closes <{element.tag}>"

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parsed(html: str) -> Element:
    """The elements of a page, or of a part of one. Fails where one is closed by another's end."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder._open == [builder.root], "an element is not closed"
    return builder.root
