"""Two texts in; their differences out, where nearly all words agree.

Each guard is a module of its own with a function `difference`, which looks at the pair's alignment and gives a
difference, or none. A guard knows English, and no more of the world than its lists.
"""

from collections.abc import Callable, Mapping

from app.engine.guards import (
    actor,
    direction_and_roles,
    identifiers_and_options,
    kind_of_question,
    language,
    named_entities,
    negation_and_opposites,
    numbers,
    time,
    units,
    versions,
)
from app.engine.guards.alignment import Alignment, align
from app.engine.guards.difference import Difference
from app.engine.guards.reading import read
from app.engine.reasons import Code

Guard = Callable[[Alignment], Difference | None]

# What these see is never called a duplicate: such a pair is `review` at most. See docs/decisions/0023.
CAPPING: frozenset[Code] = frozenset(
    (
        *("language", "negation", "opposite", "direction", "identifier", "version", "unit"),
        *("number", "entity", "actor", "time"),
    )
)

# The most important first.
GUARDS: Mapping[str, Guard] = {
    "language": language.difference,
    "negation_and_opposites": negation_and_opposites.difference,
    "direction_and_roles": direction_and_roles.difference,
    "identifiers_and_options": identifiers_and_options.difference,
    "versions": versions.difference,
    "units": units.difference,
    "numbers": numbers.difference,
    "named_entities": named_entities.difference,
    "actor": actor.difference,
    "time": time.difference,
    "kind_of_question": kind_of_question.difference,
}


def differences(first: str, second: str) -> list[Difference]:
    """The differences that the guards see, the most important first. The order of the texts makes no difference to
    them. A difference in places where a more important one lies is left out.
    """
    if first == second:
        return []
    if second < first:
        return [difference.turned() for difference in differences(second, first)]
    pair = align(read(first), read(second))
    found: list[Difference] = []
    for guard in GUARDS.values():
        difference = guard(pair)
        if difference and not any(difference.is_inside(other) for other in found):
            found.append(difference)
    return found
