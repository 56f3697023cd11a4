"""Labelled pairs of our own making, from templates: as many as wanted, no question twice."""

import random
from itertools import product
from pathlib import Path

from training.pairs import LabelledPair

ACTIONS = ("reset", "change", "delete", "export", "share", "print", "move", "rename")
OBJECTS = (
    *(
        "password",
        "invoice",
        "folder",
        "photo",
        "report",
        "calendar",
        "contract",
        "profile",
        "message",
        "backup",
    ),
    *(
        "picture",
        "address",
        "contact",
        "ticket",
        "playlist",
        "note",
        "bookmark",
        "signature",
        "template",
        "badge",
    ),
    *(
        "receipt",
        "schedule",
        "drawing",
        "recipe",
        "budget",
        "form",
        "poster",
        "letter",
        "survey",
        "budget line",
    ),
)
PLACES = (
    *(
        "on my phone",
        "in the browser",
        "at work",
        "for a friend",
        "without an account",
        "after the update",
    ),
    *(
        "from another country",
        "before friday",
        "with a keyboard",
        "as a guest",
        "in bulk",
        "by mail",
    ),
)
TEMPLATES = (
    "how do i {} my {} {}",
    "what is the way to {} the {} {}",
    "i want to {} a {} {} but how",
    "can you tell me how to {} one {} {}",
)
NEGATION = "not"
TEXTS = (NEGATION, *ACTIONS, *OBJECTS, *PLACES, *TEMPLATES)
WORDS = sorted({word for text in TEXTS for word in text.split() if word != "{}"})


def generated_pairs(count: int, seed: int = 0) -> list[LabelledPair]:
    """Each pair in two templates: half of them for the same request, half for its negation, or with another action,
    object or place. A negation can be told from a word alone, the others only by comparing."""
    chances = random.Random(seed)
    requests = list(product(ACTIONS, OBJECTS, PLACES))
    unused = {request: list(range(len(TEMPLATES))) for request in requests}
    found: list[LabelledPair] = []
    while len(found) < count:
        request = chances.choice(requests)
        if len(unused[request]) < 2:
            continue
        first, second = chances.sample(unused[request], 2)
        unused[request].remove(first)
        if len(found) % 2:
            unused[request].remove(second)
            found.append(LabelledPair(_text(first, request), _text(second, request), True))
            continue
        other = list(request)
        slot = chances.randrange(6)
        if slot < 3:
            other[slot] = chances.choice((ACTIONS, OBJECTS, PLACES)[slot])
        changed = (other[0], other[1], other[2])
        if slot < 3 and (changed == request or second not in unused[changed]):
            continue
        unused[changed].remove(second)
        negated = (f"{NEGATION} {changed[0]}", *changed[1:]) if slot >= 3 else changed
        found.append(LabelledPair(_text(first, request), _text(second, negated), False))
    return found


def write_pairs(path: Path, pairs: list[LabelledPair]) -> Path:
    """A TSV of them."""
    rows = "".join(f"{pair.question1}\t{pair.question2}\t{pair.is_duplicate:d}\n" for pair in pairs)
    path.write_text("question1\tquestion2\tis_duplicate\n" + rows, "utf-8")
    return path


def _text(template: int, request: tuple[str, str, str]) -> str:
    return TEMPLATES[template].format(*request)
