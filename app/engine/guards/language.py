"""Fires where a question is not in English, the language of the releases.

A language is told by its function words and by letters that English lacks. A few words without either pass as English,
so do terms and names of any language inside an English sentence.
"""

import unicodedata
from functools import lru_cache

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference, spans
from app.engine.guards.reading import read
from app.engine.guards.vocabulary import FUNCTION_WORDS
from app.engine.guards.word_lists import words
from app.engine.reasons import Spans

FEWEST = 2  # words that must tell
ENGLISH_SHARE = 1 / 3  # of a text's words, from which it is English without a further look
MOST_MARKED = 0.5  # share of a text's words with letters that English lacks

OTHERS = tuple(
    words(of_language)
    for of_language in (
        # German
        """
        der die das den dem des ein eine einen einem einer und oder aber nicht kein keine ist sind
        war wird werden wurde hat habe haben kann können darf muss soll ich du er sie es wir ihr
        mich mir mein meine meinen meinem meiner dich dein sich ihre ihren ihrem wie was wer wo
        wann warum welche welcher welches wenn dass weil als bei beim mit ohne nach von vom zu zum
        zur für auf aus an am im in um über unter vor bis ab man noch nur auch schon mehr sehr
        bitte gibt geht macht bedeutet bekomme brauche wieder
        """,
        # French
        """
        le la les un une des du de et ou mais ne pas plus est sont suis es sera était ont ai as
        avez avons peut peux puis dois doit faut je tu il elle on nous vous ils elles me te se mon
        ma mes ton ta tes son sa ses votre vos notre leur que qui quoi quel quelle quels quelles
        comment pourquoi quand où combien dans sur sous avec sans pour par chez vers depuis avant
        après entre au aux en ce cet cette ces ça si très fait faire être avoir jusqu qu
        """,
        # Spanish
        """
        el la los las un una unos unas pero no ni es son está están era fue ser estar hay he
        ha han tengo tiene puedo puede se me te le lo nos mi mis tu tus su sus que qué quién cuál
        cuáles cómo cuándo dónde cuánto cuánta cuántos cuántas porque por para con sin de del al
        en desde hasta entre sobre antes después muy más menos ya si sí este esta estos estas eso
        yo él ella
        """,
        # Italian
        """
        il lo la gli le un uno una ma non sono ho ha hanno posso può si mi ti ci vi mio
        mia miei tuo suo che chi cosa come quando dove perché quanto quale quali di del della dei
        delle al alla ai nel nella con senza per tra fra da dal dalla su sul più
        """,
        # Portuguese
        """
        os as um uma uns umas ou mas não são foi está estão tenho tem posso pode se me te
        meu minha meus seu sua que quem qual quais como quando onde porque por para com sem de do
        da dos das no na nos nas ao até desde entre sobre mais muito já eu ele ela
        """,
        # Dutch
        """
        de het een en of maar niet geen is zijn was waren wordt worden heeft heb hebben kan kunnen
        mag moet ik je jij hij zij wij we mij mijn jouw zijn haar onze hoe wat wie waar wanneer
        waarom welke welk als dat omdat bij met zonder naar van voor op uit aan in om over onder
        tot nog ook al meer zeer
        """,
        # Swedish, Danish, Norwegian
        """
        och eller men inte ikke är er var har kan kunna må måste ska skal jag jeg du han hon vi
        mig min mitt mine din sin hur hvordan vad hvad hva vem hvem när når hvornår varför hvorfor
        vilken hvilken om att at det den de en ett et på av af med uten utan uden till til från
        fra för som
        """,
        # Polish
        """
        lub ale nie jest są był była mam ma może mogę się mi mój moja moje twój co kto jak kiedy
        gdzie dlaczego ile czy który która które we ze na do od po dla bez przez przed za
        to ten ta te
        """,
        # Turkish
        """
        ve veya ama değil var yok bir bu şu ben sen biz siz benim nasıl ne kim nerede neden niçin
        kaç hangi mi mı mu mü için ile gibi olarak kadar daha çok
        """,
    )
)
ENGLISH = FUNCTION_WORDS | words(
    "go make use take change find work long much many good best new first time"
)
ONLY_ENGLISH = ENGLISH.difference(*OTHERS)
ONLY_OTHER = ENGLISH.union(*OTHERS) - ENGLISH


def difference(pair: Alignment) -> Difference | None:
    """Whether one of the questions is not in English."""
    first = foreign(pair.first.text)
    second = foreign(pair.second.text)
    if not first and not second:
        return None
    return Difference("language", "", "", first, second)


@lru_cache(maxsize=256)
def foreign(text: str) -> Spans:
    """The places of the words that tell another language than English; none where the text passes as English."""
    reading = read(text)
    plain = {word.lower for word in reading.words}
    if not plain or (text.isascii() and plain.isdisjoint(ONLY_OTHER)):
        return ()
    if len(plain & ONLY_ENGLISH) > ENGLISH_SHARE * len(plain):
        return ()
    has_english = not plain.isdisjoint(ONLY_ENGLISH)
    marked = {word for word in plain if _is_marked(word)}
    if len(marked) > MOST_MARKED * len(plain):
        return spans(word for word in reading.words if word.lower in marked)
    for own in OTHERS:
        sure = (plain & own) - ENGLISH
        if not sure and has_english:  # names and loan words have such letters, too
            continue
        strength = len(sure) + len(marked)
        english = len((plain & ENGLISH) - own)
        if strength > english and strength + len(plain & own & ENGLISH) >= FEWEST:
            return spans(word for word in reading.words if word.lower in sure | marked)
    return ()


def _is_marked(word: str) -> bool:
    """Whether a word has letters that English lacks; other forms of its own are none."""
    return not word.isascii() and not unicodedata.normalize("NFKC", word).isascii()
