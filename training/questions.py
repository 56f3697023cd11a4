"""The release for questions of any domain: mixed, trained, calibrated as it is served, published.

The bi-encoder learns to find paraphrases, from the base. The classifier goes on from the parent's, over some epochs of
the mix. Or a new classifier, perhaps a larger one, learns from the mix beside the parent's bi-encoder; or the parent's
learns what a larger one says of the mix, or stays as it is. A larger model may be the bi-encoder, as it is, or show the
parent's base how near questions are. Calibration and thresholds are those that hold for domains left out.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from app.engine.bases import find_base
from app.engine.models.backends import AUTO
from app.engine.models.opening import open_models
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.engine.training_contract import Device
from app.errors import CommandError
from training.build import Recipe, Source, make_release
from training.elsewhere import PUBLIC_SETS, Portion, apart, portion_of, read_elsewhere, read_set
from training.finding import Alone, ByTeacher, Finding, domain_batches, finding_pairs
from training.mix import Epoch, Ingredients, asked_pairs, cluster_pairs, sample_epoch, style_of
from training.objectives import Examples, ObjectiveName
from training.pairs import LabelledPair, fingerprint, read_pairs, write_pairs
from training.plan import claim, digests
from training.progress_writer import ProgressWriter
from training.publish import refuse_existing
from training.related import related_pairs
from training.served_scales import scales_for_strangers
from training.sources import unseen
from training.teacher import keep, kept, near_pairs, soften
from training.train import Options, train
from training.written import Cluster, read_clusters

err = Console(stderr=True)

SEED = 20
BITS = 3  # for each weight of the published differences
RELATED_PAIRS = 8000  # judged by the teacher; an epoch draws some of them
QUORA = "quora"  # its portion's name
QUORA_PAIRS = 60_000  # in an epoch
PAWS_SHARE = 0.8  # of the pairs, in an epoch
CHOSEN_BY = 600  # written pairs by which the best checkpoint is chosen

# How a classifier learns that goes on from the parent's, and one that starts from another model. The layers of the
# larger that stay are a third of twelve, so that its difference is a third smaller, too.
GOING_ON = Options(learning_rate=1e-4, frozen_layers=2, batch_size=64)
STARTING = Options(learning_rate=4e-5, frozen_layers=4, batch_size=32)
NEAR = "near.jsonl"  # near pairs without a label, beside the checkpoints
LOGITS = "logits.f32"  # what a teacher said so far, there too
TAUGHT = "taught.parquet"  # what is learnt of it


@dataclass(frozen=True)
class Effort:
    """How much a classifier learns from."""

    epochs: int = 2  # each of a mix drawn anew; of none it learns nothing, and is the parent's
    limit: int | None = None  # pairs in an epoch
    near: int = 10_000  # pairs without a label, that a teacher judges beside the mix
    batch_size: int | None = None  # as usual if not said; the learning rate follows its square root
    device: Device = "auto"


@dataclass(frozen=True)
class Given:
    """What whoever makes the release brings; each of the three sets may be missing."""

    parent: Release
    quora: Path | None
    paws: Path | None
    elsewhere: Path | None
    report: Sequence[Source]
    start: str | None = None  # a model, named as a base is, that a new classifier starts from
    teacher: Release | None = None  # whose classifier says how probable a duplicate each pair is
    encoder: str | None = None  # a model, named as a base is, that is the bi-encoder as it is
    finding_teacher: Release | None = None  # whose bi-encoder shows this one how near questions are
    effort: Effort = Effort()

    @property
    def keeps_encoder(self) -> bool:
        """Whether the bi-encoder is the parent's as it is, so that what it embedded need not be embedded again."""
        learns = self.encoder or self.finding_teacher
        return not learns and (self.start is not None or self.teacher is not None)


def make_questions_release(given: Given, out: Path, progress: ProgressWriter) -> Release:
    """Train and publish. A training that was killed goes on from the last checkpoint beside `out`.

    Raises CommandError, before it trains, when `out` exists, another training left checkpoints there, or a set of pairs
    doesn't do.
    """
    refuse_existing(out)
    if not given.effort.epochs and (given.start or given.teacher):
        raise CommandError("--epochs 0 keeps the classifier: --start and --teacher make one")
    work = out.parent / f".{out.name}.training"
    clusters = read_clusters("train")
    portions = _portions(given)
    claim(work, _claimed(given, portions))
    learnt = apart(portions)
    epochs: list[Epoch] = []
    if given.effort.epochs:
        related = _related(given, clusters, work, progress)
        epochs = _epochs(given.effort, Ingredients(clusters, related, learnt))
        print_mix(epochs[0], clusters)
    finding = _finding(given, clusters, learnt)
    recipe = _recipe(given, epochs, finding, portions, work)
    recipe.check(out)
    if epochs:
        _check_classifiers(given)
    models: dict[str, Path] = {}
    if given.keeps_encoder:
        models[ENCODER] = _kept(given.parent, ENCODER)
    if not epochs:
        models[CLASSIFIER] = _kept(given.parent, CLASSIFIER)
    progress.phase("training")
    if finding:
        base = find_base(given.parent.base.name)
        models[ENCODER] = finding.learn(base, work / "encoder", progress, given.effort.device)
    if epochs:
        models[CLASSIFIER] = _classifier(given, epochs, work, progress)
    progress.phase("measuring")
    training = _training(given, epochs, finding, work)
    recipe = replace(recipe, models=models, training=training)
    return make_release(recipe, out, given.effort.device, progress)


def _claimed(given: Given, portions: Sequence[Portion]) -> dict[str, Any]:
    """All that tells one training from another, as JSON values."""
    effort = asdict(given.effort)
    del effort["device"]  # it may go on elsewhere
    releases = {
        "parent": given.parent,
        "teacher": given.teacher,
        "finding_teacher": given.finding_teacher,
    }
    sets = {}
    for portion in portions:
        sets[portion.name] = fingerprint(portion.pairs)
    return {
        **effort,
        "releases": digests(releases),
        "start": given.start,
        "encoder": given.encoder,
        "sets": sets,
    }


def _epochs(effort: Effort, ingredients: Ingredients) -> list[Epoch]:
    """Each drawn anew, with no more pairs than wanted."""
    epochs = []
    for number in range(effort.epochs):
        epoch = sample_epoch(ingredients, SEED + number)
        epochs.append(_shortened(epoch, effort.limit) if effort.limit else epoch)
    return epochs


def _shortened(epoch: Epoch, limit: int) -> Epoch:
    """The first of its pairs, which stand in random order."""
    pairs = epoch.pairs[:limit]
    left = set(pairs)
    return Epoch([pair for pair in epoch.written if pair in left], pairs)


def print_mix(epoch: Epoch, clusters: Sequence[Cluster]) -> None:
    """Say how many pairs there are, and how far style tells their labels."""
    numbers = {text: number for number, one in enumerate(clusters) for text in one.same}
    numbers |= {
        near.text: number for number, one in enumerate(clusters) for near in one.near_misses
    }
    groups = [numbers.get(pair.question1, 0) for pair in epoch.written]
    style = style_of(epoch.written, groups)
    err.print(f"{len(epoch.pairs):,} pairs, {epoch.written_share:.1%} of them written")
    err.print(
        f"AUC of the label by one text: {style.one_text:.3f}, by surface: {style.surface:.3f}"
    )


def _portions(given: Given) -> list[Portion]:
    portions = read_elsewhere(given.elsewhere) if given.elsewhere else []
    if given.quora:
        portions.append(portion_of(QUORA, read_pairs(given.quora), QUORA_PAIRS))
    if given.paws:
        portions.append(Portion("paws_qqp", read_pairs(given.paws), PAWS_SHARE))
    return portions


def _related(
    given: Given, clusters: Sequence[Cluster], work: Path, progress: ProgressWriter
) -> list[LabelledPair]:
    """The related pairs, judged once by the parent and kept in `work`, the nearest first."""
    file = work / "related.jsonl"
    if not file.exists():
        device = given.effort.device
        related = related_pairs(clusters, given.parent, RELATED_PAIRS, SEED, progress, device)
        err.print(f"{len(related.pairs):,} related pairs, {related.left_out:,} left out")
        write_pairs(file, related.pairs)
    is_empty = not file.stat().st_size  # a parent that takes all for duplicates leaves none
    return [] if is_empty else read_set(file)


def _kept(parent: Release, part: str) -> Path:
    """The difference of a parent's model, or its base, which it is.

    Raises CommandError where there is none, and for whole weights: rounded, these would become another model.
    """
    files = parent.model(part)
    if not files:
        raise CommandError(f"{parent.path} has no {part} to keep")
    folder, difference = files
    if difference is None and folder.is_relative_to(parent.path):
        raise CommandError(f"{parent.path} has whole weights, which this release could not keep")
    return difference or folder


def _finding(
    given: Given, clusters: Sequence[Cluster], portions: Sequence[Portion]
) -> Finding | None:
    """How the bi-encoder learns to find, if it does: of the portions it learns from Quora's duplicates alone."""
    if given.encoder or given.keeps_encoder:
        return None
    if given.finding_teacher:
        return ByTeacher(given.finding_teacher, domain_batches(clusters))
    quora = [pair for portion in portions if portion.name == QUORA for pair in portion.pairs]
    return Alone(finding_pairs(clusters, quora))


def _classifier(
    given: Given, epochs: Sequence[Epoch], work: Path, progress: ProgressWriter
) -> Path:
    """The classifier that training starts from, after all epochs."""
    start = find_base(given.start) if given.start else _saved_classifier(given.parent, work)
    pairs = [pair for epoch in epochs for pair in epoch.pairs]
    examples = partial(Examples, pairs)
    objective = ObjectiveName.CROSS_ENCODER
    if given.teacher:
        examples = partial(_taught, given, given.teacher, pairs, work, progress)
        objective = ObjectiveName.DISTILL_CLASSIFIER
    tune = _written_pairs(random.Random(SEED))[:CHOSEN_BY]
    options = learning(given)
    return train(objective, start, examples, tune, options, work / CLASSIFIER, progress)


def _taught(
    given: Given,
    teacher: Release,
    pairs: Sequence[LabelledPair],
    work: Path,
    progress: ProgressWriter,
) -> Examples:
    """What a teacher says of the pairs and of near ones without a label; each is asked once, and kept in `work`."""
    file = work / TAUGHT
    if not file.exists():
        near = _near(given, pairs, work, progress)
        device = given.effort.device
        keep(soften(teacher, pairs, near, device, progress, work / LOGITS), file)
    return kept(file)


def _near(
    given: Given, pairs: Sequence[LabelledPair], work: Path, progress: ProgressWriter
) -> list[LabelledPair]:
    """Near pairs of their texts without a label, by the parent's bi-encoder; looked for once, and kept in `work`."""
    if not given.effort.near:
        return []
    file = work / NEAR
    if not file.exists():
        encoder, _ = open_models(given.parent, given.effort.device, AUTO)
        write_pairs(file, near_pairs(encoder, pairs, given.effort.near, progress))
    return read_set(file)


def learning(given: Given) -> Options:
    """How the classifier learns.

    The learning rate grows with the square root of the batch, as Adam's noise falls by it (Malladi et al., "On the
    SDEs and Scaling Rules for Adaptive Gradient Algorithms", 2022).
    """
    usual = STARTING if given.start else GOING_ON
    assert usual.learning_rate
    assert usual.batch_size
    batch_size = given.effort.batch_size or usual.batch_size
    rate = usual.learning_rate * math.sqrt(batch_size / usual.batch_size)
    return replace(
        usual,
        learning_rate=rate,
        batch_size=batch_size,
        device=given.effort.device,
        seed=SEED,
    )


def _check_classifiers(given: Given) -> None:
    """Raise CommandError where a release has no classifier to go on from, or to learn from."""
    parent = None if given.start else given.parent
    for release in filter(None, (parent, given.teacher)):
        if not release.model(CLASSIFIER):
            raise CommandError(f"{release.path} has no pair classifier")


def _saved_classifier(parent: Release, work: Path) -> Path:
    """The folder of the parent's classifier."""
    _, classifier = open_models(parent, "cpu")
    assert classifier
    folder = work / "parent"
    classifier.save(folder)
    return folder


def _written_pairs(chances: random.Random) -> list[LabelledPair]:
    pairs = [p for one in read_clusters("calibration") for p in cluster_pairs(one, chances)]
    chances.shuffle(pairs)
    return pairs


def _recipe(
    given: Given,
    epochs: Sequence[Epoch],
    finding: Finding | None,
    portions: Sequence[Portion],
    work: Path,
) -> Recipe:
    """The release that is to be, but for its models and how they learnt."""
    files = [given.quora, given.paws, given.elsewhere] if epochs else []
    if isinstance(finding, Alone) and not epochs:
        files = [given.quora]
    names = ["training/data/written/train", *(path.name for path in files if path)]
    lists = [epoch.pairs for epoch in epochs]
    if finding:
        lists.append(finding.pairs)
    pairs = list(dict.fromkeys(pair for each in lists for pair in each))
    learnt = Source(", ".join(names), pairs)
    drawn_from = [pair for portion in portions for pair in portion.pairs]
    return Recipe(
        base=given.encoder or given.parent.base.name,
        classifier_base=given.start,
        train=learnt,
        tune=Source("training/data/written/calibration", asked_pairs("calibration")),
        report=[unseen(source, [*pairs, *drawn_from]) for source in given.report],
        bits=BITS,
        parent=given.parent,
        seed=SEED,
        scales=partial(scales_for_strangers, work=work, sources=_sources(given)),
    )


def _training(
    given: Given, epochs: Sequence[Epoch], finding: Finding | None, work: Path
) -> dict[str, Any]:
    """How each part learnt, for the manifest."""
    training = dict(given.parent.manifest["training"] or {})
    if epochs:
        training[CLASSIFIER] = _judging(given, epochs, work)
    if given.encoder:
        training[ENCODER] = {}
    elif finding:
        training[ENCODER] = finding.settings
    return training


def _judging(given: Given, epochs: Sequence[Epoch], work: Path) -> dict[str, Any]:
    """How the classifier learnt."""
    options = learning(given)
    count = sum(len(epoch.pairs) for epoch in epochs)
    judging: dict[str, Any] = {
        "pairs": count,
        "epochs": len(epochs),
        "written": round(epochs[0].written_share, 3),
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "frozen_layers": options.frozen_layers,
    }
    if given.start:
        judging["start"] = given.start
    if given.teacher:
        near = len(kept(work / TAUGHT).pairs) - count
        return {"distill-classifier": judging | {"teacher": given.teacher.name, "near": near}}
    return {"cross-encoder": judging}


def _sources(given: Given) -> str:
    """The card's section on what was learnt from, and on its terms."""
    rows = ["| written clusters (synthetic, by a language model) | Sameask's own | CC BY 4.0 |"]
    if given.quora:
        rows.append("| Quora Question Pairs | Quora, Inc. | non-commercial, no open licence |")
    if given.paws:
        rows.append("| PAWS-QQP | Google, on Quora's texts | non-commercial, as Quora's |")
    if given.elsewhere:
        rows += [f"| {public.name} | {public.source} | {public.terms} |" for public in PUBLIC_SETS]
    table = "\n".join(rows)
    return f"## Sources and their terms\n\n| set | from | terms |\n|---|---|---|\n{table}"
