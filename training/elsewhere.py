"""Public labelled sets of other domains in, from a folder, each with its terms and its share in an epoch.

The sets are no part of this project: whoever trains brings them. Those under the GPL or without stated terms are not
learnt from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.engine.text import folded_digest
from app.errors import CommandError
from training.pairs import LabelledPair, read_labelled
from training.written import Side, read_clusters

ENDING = ".tsv.gz"


@dataclass(frozen=True)
class PublicSet:
    """A public set: its file's name, where it is from, its terms, and how much of it an epoch takes.

    The noisier its labels and the longer its texts, the smaller the share.
    """

    name: str
    source: str
    terms: str
    share: float


@dataclass(frozen=True)
class Portion:
    """Labelled pairs of one source, of which an epoch draws a share anew."""

    name: str
    pairs: Sequence[LabelledPair]
    share: float


PUBLIC_SETS: Sequence[PublicSet] = (
    PublicSet("banking77", "Banking77 (intents)", "CC BY 4.0", 0.5),
    PublicSet("clinc150_slotfree", "CLINC150 (intents)", "CC BY 3.0", 0.6),
    PublicSet("bitext", "Bitext customer support (intents)", "CDLA-Sharing 1.0", 1.0),
    PublicSet("rqe_train_rebuilt", "RQE (medical)", "CC BY 4.0", 0.5),
    PublicSet("meqsum_pos", "MeQSum (medical)", "CC BY 4.0", 0.3),
    PublicSet("conala", "CoNaLa (Python)", "CC BY-SA 4.0", 0.5),
    PublicSet("nl2bash", "NL2Bash", "MIT", 0.4),
    PublicSet("spider_train_spider", "Spider", "CC BY-SA 4.0", 0.7),
    PublicSet("spider_syn_train_spider", "Spider-Syn", "MIT", 0.3),
    PublicSet("t2s_advising", "text2sql-data: Advising", "CC BY 4.0", 1.0),
    PublicSet("t2s_geography", "text2sql-data: Geography", "the source's", 1.0),
    PublicSet("t2s_scholar", "text2sql-data: Scholar", "the source's", 1.0),
    PublicSet("paws_wiki_dev", "PAWS-Wiki", "free, PAWS terms", 0.1),
    PublicSet("paws_wiki_train_part", "PAWS-Wiki", "free, PAWS terms", 0.1),
    PublicSet("semantoneg", "SemAntoNeg", "CC BY-SA 4.0", 0.6),
    PublicSet("cannot_negations", "CANNOT", "CC BY-SA 4.0", 0.1),
    PublicSet("sick", "SICK", "mixed, non-commercial in part", 0.5),
)


def portion_of(name: str, pairs: Sequence[LabelledPair], count: int) -> Portion:
    """A portion of which an epoch draws about `count` pairs."""
    return Portion(name, pairs, min(1.0, count / len(pairs)))


def read_elsewhere(folder: Path, left_out: Sequence[str] = ()) -> list[Portion]:
    """The public sets that lie in the folder, but those left out.

    Raises CommandError where none of them lies there, for a broken row, and for a name that is no set's.
    """
    known = {public.name for public in PUBLIC_SETS}
    if unknown := sorted(set(left_out) - known):
        raise CommandError(
            f"there is no public set {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )
    portions = []
    for public in PUBLIC_SETS:
        file = folder / (public.name + ENDING)
        if public.name not in left_out and file.is_file():
            portions.append(Portion(public.name, read_set(file), public.share))
    if not portions:
        raise CommandError(f"{folder} holds none of the sets {', '.join(sorted(known))}")
    return portions


def read_set(file: Path) -> list[LabelledPair]:
    """The labelled pairs of one set, which may be of one class alone."""
    return [pair for _, pair in read_labelled(file)]


def apart(portions: Sequence[Portion]) -> list[Portion]:
    """The portions without pairs that share a question with the written sides which are not learnt from."""
    sides: Sequence[Side] = ("calibration", "report")
    clusters = [cluster for side in sides for cluster in read_clusters(side)]
    measured = {folded_digest(text) for cluster in clusters for text in cluster.texts}
    kept_apart = []
    for portion in portions:
        pairs = [
            pair for pair in portion.pairs if measured.isdisjoint(map(folded_digest, pair.texts))
        ]
        kept_apart.append(replace(portion, pairs=pairs))
    return kept_apart
