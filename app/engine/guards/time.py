"""Fires where the questions speak of two times: before and after, Monday and Saturday, past and future.

Years, dates and clock times are numbers, for another guard. A past and a present are told apart only where nothing else
differs there. The tense of a verb form alone ("I left") is not seen.
"""

from collections.abc import Iterator, Mapping, Sequence

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference
from app.engine.guards.number_words import NUMBERS
from app.engine.guards.reading import Reading, Word
from app.engine.guards.word_lists import words

LEAST_AGREEMENT = 0.4
LEAST_FOR_TENSE = 0.7

# A line is one kind: words of it exclude one another. Joined by a comma are words of one meaning.
KINDS = """
    before,prior,ahead after,following,once,afterwards during,while,whilst
    since until,till
    monday tuesday wednesday thursday friday saturday sunday
    weekday weekend
    january,jan february,feb march april may june july august,aug september,sept october,oct november,nov december,dec
    spring summer autumn,fall winter
    morning afternoon evening night,overnight noon,midday midnight day
    christmas easter eve thanksgiving halloween ramadan passover eid diwali
    yesterday today,tonight tomorrow
    last,previous next,coming this first
    ago soon
    often long
    earliest,first latest,last
    advance arrears
    bc ad
    hourly daily weekly,week monthly,month quarterly yearly,annual,annually,year
    hour day week month quarter year
    now later
    first second,2nd third final,last
    past future
"""
PERIODS = words(
    "hour day week month quarter year weekly monthly daily yearly annual annually hourly"
)
COUNTED = words("hour day week month quarter year night morning afternoon evening second weekend")
BEFORE_MAY = words("in on of since until till by early late mid next last")  # the month
EVERY = words("every each a an per by this last next all")
FUTURE = words("will shall gonna")
PAST = words("was were did had")
PRESENT = words("am is are do does")
PERFECT = words("has have")


def _kinds() -> Sequence[Mapping[str, str]]:
    """For each kind, the meaning of each of its words."""
    kinds = []
    for line in KINDS.strip().splitlines():
        kind: dict[str, str] = {}
        for same in line.split():
            first, *others = same.split(",")
            for word in (first, *others):
                kind[word] = kind[f"{word}s"] = first
        kinds.append(kind)
    return kinds


KIND_MAPS = _kinds()
TIME_WORDS = frozenset(word for kind in KIND_MAPS for word in kind)


def difference(pair: Alignment) -> Difference | None:
    """Whether the questions speak of two times."""
    if pair.agreement < LEAST_AGREEMENT:
        return None
    own1 = [word for word in pair.only1 if word.lower in TIME_WORDS]
    own2 = [word for word in pair.only2 if word.lower in TIME_WORDS]
    for kind in KIND_MAPS if own1 and own2 else ():
        said1 = [word for word in own1 if word.lower in kind and _is_time(pair.first, word)]
        said2 = [word for word in own2 if word.lower in kind and _is_time(pair.second, word)]
        if said1 and said2 and kind[said1[0].lower] != kind[said2[0].lower]:
            return Difference.of_words("time", pair, said1[:1], said2[:1])
    return _tense(pair)


def _is_time(reading: Reading, word: Word) -> bool:
    """Whether a span of time stands for when or how often, and is no amount."""
    place = reading.words.index(word)
    before = reading.words[place - 1].lower if place else ""
    if word.lower == "may":
        return before in BEFORE_MAY or _is_date(reading, place)
    is_counted = word.lower in COUNTED or word.lower.removesuffix("s") in COUNTED
    if is_counted and (before in NUMBERS or before[:1].isdigit()):
        return False
    if word.lower not in PERIODS or word.lower.endswith("ly"):
        return True
    return place > 0 and reading.words[place - 1].lower in EVERY


def _is_date(reading: Reading, place: int) -> bool:
    """Whether a word with a capital stands beside a number: "3 May", "May 3"."""
    beside = reading.words[max(0, place - 1) : place + 2]
    is_capital = reading.text[reading.words[place].start].isupper()
    return is_capital and any(word.lower[0].isdigit() for word in beside)


def _tense(pair: Alignment) -> Difference | None:
    """The future of one and the past of the other, or two tenses where nothing else differs."""
    if pair.is_reordered or pair.agreement < LEAST_FOR_TENSE:
        return None
    first = _tenses(pair.first, pair.only1)
    second = _tenses(pair.second, pair.only2)
    if not first or not second:
        return None
    tenses = {first[0][0], second[0][0]}
    if tenses in ({"future", "past"}, {"future", "perfect"}):
        return Difference.of_words("time", pair, (first[0][1],), (second[0][1],))
    if tenses == {"past", "present"} and _differs_by_these(pair):
        return Difference.of_words("time", pair, (first[0][1],), (second[0][1],))
    return None


def _tenses(reading: Reading, only: Sequence[Word]) -> list[tuple[str, Word]]:
    return list(_tense_words(reading, only))


def _tense_words(reading: Reading, only: Sequence[Word]) -> Iterator[tuple[str, Word]]:
    for word in only:
        for name, own in (("future", FUTURE), ("past", PAST), ("present", PRESENT)):
            if word.lower in own:
                yield name, word
        if word.lower in PERFECT:
            yield "perfect", word
        if word.lower == "use" and "to" in reading.keys:
            yield "past", word


def _differs_by_these(pair: Alignment) -> bool:
    """Whether the only places where the texts differ are these verbs of tense."""
    tense = PAST | PRESENT
    return not pair.is_reordered and all(word.lower in tense for word in (*pair.only1, *pair.only2))
