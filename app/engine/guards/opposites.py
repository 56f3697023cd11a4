"""Pairs of opposites. A line is one pair; a side may hold several words of one meaning."""

from collections.abc import Mapping

from app.engine.guards.vocabulary import key_of, keys
from app.engine.guards.word_lists import phrases, words

PARTICLES = words("on off up down in out")
ALIKE_WITH = keys("fill")  # fill in, fill out: verbs that mean the same with both particles
# Of these, the one said of two in another order says the same as the other: "she sells to him", "he buys from her".
CONVERSE = keys("""
    buy sell lend borrow give take receive get send win lose push pull come go lead follow attack defend
    host guest owe pay hire
""")
PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "de", "mis", "anti", "off", "sub")

LINES = """
    on / off
    up / down
    in / out
    into / out
    under below / over above
    inside / outside
    with / without
    open opened opening / close closed shut closing lock
    enable enabled activate allow / disable disabled deactivate block
    increase raise grow rise gain / decrease reduce lower lose fall drop cut
    gain / lose
    maximum max most highest / minimum min least lowest
    more / less fewer
    high higher / low lower
    big bigger biggest large / small smaller smallest little
    long longer longest / short shorter shortest
    fast faster fastest quick quickly / slow slower slowest slowly
    hot hotter warm warmer / cold colder cool cooler
    early earlier earliest / late later latest delayed
    new newer newest / old older oldest
    first / last
    good better best / bad worse worst
    safe safest safer / dangerous risky unsafe
    easy easier easiest / hard harder hardest difficult
    cheap cheaper cheapest / expensive dear
    strong stronger / weak weaker
    heavy heavier / light lighter
    thick / thin
    wide / narrow
    deep / shallow
    hard / soft
    full / empty
    wet / dry
    true / false
    right correct / wrong incorrect false
    left / right
    north northern / south southern
    east eastern / west western
    front / back rear
    top / bottom
    start begin started starting open / stop end finish quit ended stopped
    love like / hate dislike
    accept accepted approve approved / reject rejected refuse refused decline declined deny denied
    win winning won / lose losing lost
    buy bought / sell sold
    lend lent / borrow borrowed
    give gave given / take took taken receive received
    send sent / receive received
    push upload / pull download
    import / export
    push / pull
    hand drop / pick collect
    add added insert install / remove removed delete deleted uninstall
    create / delete destroy remove
    build / destroy
    connect attach join / disconnect detach leave
    join enter / leave exit quit
    arrive arrival arriving / leave departure depart departing
    come / go
    show shown visible / hide hidden hiding invisible
    include included including / exclude excluded excluding
    find found / lose lost
    keep kept / lose lost cancel
    remember / forget forgotten forgot
    allow allowed permitted legal may / forbid forbidden prohibited banned illegal
    legal lawful / illegal unlawful
    accelerate / slow
    freeze / thaw defrost
    heat warm / cool chill
    awake wake / asleep sleep
    alive living / dead
    survive live / die
    present / absent
    public / private
    advantage advantages pros benefit benefits / disadvantage disadvantages cons drawback drawbacks risk risks
    cause / cure prevent
    agree agrees / disagree disagrees
    follow / unfollow
    lock locked / unlock unlocked
    mount / unmount
    encrypt / decrypt
    compress zip / decompress unzip extract
    encode / decode
    upgrade / downgrade
    major / minor
    adult grownup / minor
    internal / external
    local / remote
    online / offline
    input / output
    incoming inbound / outgoing outbound
    ascending / descending
    horizontal horizontally / vertical vertically
    left / right
    odd / even
    positive / negative
    profit gain / loss
    success succeed / failure fail
    pass passed / fail failed
    employed / unemployed fired
    hire hired / fire fired
    married / divorced single
    marry / divorce
    pay paid / owe
    rich / poor
    young younger youngest / old older oldest
    male / female
    same / different
    similar / different
    everything everyone everybody all always / nothing nobody never none
    both / neither
    many lots much / few little
    always often / never rarely seldom
    permanent permanently / temporary temporarily
    voluntary / mandatory compulsory
    optional / required mandatory
    manual manually / automatic automatically
    simple / complex complicated
    domestic national / international foreign
    clean / dirty
    fresh / stale
    raw / cooked
    alone / together
    increase / decrease
    expand zoom / collapse shrink
    enter / exit
    deposit / withdraw
    debit / credit
    indoor indoors / outdoor outdoors
    ahead / behind
    forward / backward back
    forwards / backwards
    inflate / deflate
    tighten / loosen
    straight / curly bent
    sharp / blunt
    loud / quiet
    bright light / dark dim
    sweet / sour bitter
    attack / defend
    lighten / darken
    sunrise / sunset
    winner / loser
    maximise maximize / minimise minimize
    superior / inferior
    friend / enemy
    laugh / cry
    question / answer
    win / lose
    paid / free unpaid
    rise / set fall
    host / guest
    subscribe / unsubscribe
    login / logout logoff
    like / unlike
    mute / unmute
    pin / unpin
    hidden / shown visible
    broken / intact working
    working work works / broken failing
    guilty / innocent
    import / export
    reserved / free
    occupied / free vacant
    appear / disappear
    absorb / emit
    expand / contract
    stretch / shrink
    liquid / solid
    reward / punish punishment
    praise / blame
    encourage / discourage
    hope / fear
    save / spend waste delete
    import / export
    merge / split
    combine / separate
    overweight / underweight
    overestimate / underestimate
    overpaid / underpaid
    oversleep / sleep
    overcharged / undercharged
    qualified / unqualified
    ingoing / outgoing
"""


def _opposites() -> Mapping[str, frozenset[str]]:
    """The opposites of each word, by the key that words are compared by."""
    found: dict[str, set[str]] = {}
    for left, right in phrases(LINES):
        for one in left.split():
            for other in right.split():
                found.setdefault(key_of(one), set()).add(key_of(other))
                found.setdefault(key_of(other), set()).add(key_of(one))
    return {word: frozenset(others - {word}) for word, others in found.items()}


OPPOSITES = _opposites()
