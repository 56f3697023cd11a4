"""Lists of words in plain text in, sets and maps of them out."""

from collections.abc import Mapping


def words(text: str) -> frozenset[str]:
    """The words of a text, parted by white space."""
    return frozenset(text.split())


def groups(text: str) -> Mapping[str, str]:
    """For each word of a line but the first: the first one, which stands for all of them."""
    first_of: dict[str, str] = {}
    for line in text.splitlines():
        first, *others = line.split() or [""]
        first_of.update((other, first) for other in others if other not in first_of)
    return first_of


def phrases(text: str) -> list[tuple[str, str]]:
    """The two sides of each line `one / other`."""
    pairs = []
    for line in text.strip().splitlines():
        one, _, other = line.partition("/")
        pairs.append((one.strip(), other.strip()))
    return pairs
