"""Words as guards compare them: function words, words of one meaning, and the stem of all others.

English alone. A word that is not listed here is compared by its stem.
"""

from functools import lru_cache

from app.engine.guards.word_lists import groups, words

LONGEST_WORD = (
    40  # letters that are kept together: no word is longer, and none is remembered longer
)

FUNCTION_WORDS = words("""
    a an the this that these those such some any all each every
    i me my mine myself you your yours yourself we us our ours ourselves one's oneself
    he him his she her hers it its they them their theirs who whom whose which what
    how why when where whether whatever
    am is are was were be been being do does did done doing have has had having
    will would shall should can could may might must ought need
    no not nor never without
    and or but if unless then than as so because though although while once since until till
    of in on at to from for with by about into onto over under out off up down through during
    before after between against within without around near via per
    there here also too just please still yet already even only very really actually
    get gets got getting let lets way ways
    thing things know tell help want wants like idea possible able allowed
    hi hello thanks pls
""")

SAME_MEANING = groups("""
    child kid kids children
    baby infant babies infants newborn
    mother mum mom mummy
    father dad daddy
    parent parents
    man men
    woman women
    person persons
    people folks
    doctor physician doctors physicians gp
    lawyer solicitor attorney barrister
    spouse partner
    colleague coworker colleagues coworkers
    policeman policewoman officer
    boss manager employer
    tenant renter lessee tenants renters
    landlord lessor
    neighbour neighbor neighbours neighbors
    colour color colours colors
    staff employee employees personnel worker workers
    company firm business companies firms businesses
    pensioner retiree pensioners retirees
    vet veterinarian
    kitten cat cats
    puppy dog dogs
    tv telly television
    phone telephone mobile smartphone cellphone
    pc computer
    photo picture photos pictures image images photograph
    email e-mail mail emails
    flat apartment
    car automobile vehicle
    holiday vacation
    shop store
    film movie
    lorry truck
    bike bicycle
    fridge refrigerator
    buy purchase
    remove delete erase
    begin start commence
    end finish
    repair fix mend
    change alter modify
    price cost fee charge
    quick fast rapid
    big large
    shut close closed
    broken defective
    dish meal
    picture image
    road street
    site website
    wifi wi-fi wlan
    ok okay fine
    n't not cannot
""")

IRREGULAR = {
    "left": "leave",
    "bought": "buy",
    "sold": "sell",
    "paid": "pay",
    "made": "make",
    "sent": "send",
    "lost": "lose",
    "found": "find",
    "gave": "give",
    "given": "give",
    "took": "take",
    "taken": "take",
    "went": "go",
    "gone": "go",
    "came": "come",
    "written": "write",
    "wrote": "write",
    "built": "build",
    "won": "win",
    "told": "tell",
    "said": "say",
    "kept": "keep",
    "met": "meet",
    "bitten": "bite",
    "bit": "bite",
    "broke": "break",
    "taught": "teach",
    "thought": "think",
    "caught": "catch",
    "held": "hold",
    "led": "lead",
    "lent": "lend",
    "spent": "spend",
    "stole": "steal",
    "stolen": "steal",
    "chose": "choose",
    "chosen": "choose",
    "drove": "drive",
    "driven": "drive",
    "wives": "wife",
    "lives": "life",
    "feet": "foot",
    "mice": "mouse",
    "teeth": "tooth",
}

DOUBLED = "bdgklmnprt"


@lru_cache(maxsize=50_000)
def key_of(lower: str) -> str:
    """The key that a lower-case word is compared by: the first of the words of its meaning, or its stem."""
    if lower in FUNCTION_WORDS:
        return lower
    if lower in SAME_MEANING:
        return stem(SAME_MEANING[lower])
    base = stem(IRREGULAR.get(lower, lower))
    return _KEYS_OF_STEMS.get(base, base)


def keys(text: str) -> frozenset[str]:
    """The keys of the words of a text, lower-case, with white space between them."""
    return frozenset(map(key_of, text.split()))


def stem(word: str) -> str:
    """A word without its ending: plural, -ed, -ing and a final e. A rule of thumb, after Porter (1980)."""
    if len(word) <= 3 or not word.isascii():
        return word
    word = _singular(word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] in DOUBLED:
                word = word[:-1]
            break
    if len(word) > 3 and word.endswith(("e", "ll")):  # of "billed" one l was taken, so of "bill"
        word = word[:-1]
    return word[:-1] + "y" if word.endswith("i") else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


_KEYS_OF_STEMS = {stem(word): stem(first) for word, first in SAME_MEANING.items()}
