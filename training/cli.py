"""The commands of `python -m training`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from app.engine.release import ENGLISH, Release
from app.engine.training_contract import GateReport
from app.errors import CommandError, SameaskError
from training import cli_options as option
from training import sources
from training.build import Recipe, Source, make_release
from training.evaluation import evaluate
from training.fit import fit
from training.gate import MARGIN, gate
from training.paired_figures import EvaluationSet
from training.pairs import write_pairs
from training.plan import Plan, Steps, refuse_unused
from training.progress_writer import ProgressWriter
from training.questions import Effort, Given, make_questions_release
from training.retrain import retrain
from training.sources import SHARES
from training.splits import split
from training.train import Options

cli = typer.Typer(
    name="python -m training",
    help="Make releases from labelled pairs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out = Console()
err = Console(stderr=True)


@cli.callback()
def training() -> None:
    """Make releases from labelled pairs."""


@cli.command("fit")
def fit_command(
    objective: option.Objectives,
    pairs: option.Pairs,
    out: option.Out,
    subset: option.Subset = "pair-class",
    columns: option.Columns = None,
    tune_pairs: option.TunePairs = None,
    report_pairs: option.ReportPairs = None,
    base: option.Base = "all-MiniLM-L6-v2",
    parent: option.Parent = None,
    start: option.Start = None,
    teacher: option.Teacher = None,
    epochs: option.Epochs = None,
    batch_size: option.BatchSize = None,
    accumulate: option.Accumulate = 1,
    learning_rate: option.LearningRate = None,
    sampler: option.Sampler = "proportional",
    hard_negatives: option.HardNegatives = 0,
    mine: option.Mine = 0,
    dropout: option.Dropout = False,
    lora_rank: option.LoraRank = None,
    bits: option.Bits = None,
    patience: option.Patience = None,
    limit: option.Limit = None,
    average: option.Average = None,
    share: option.Share = None,
    keep: option.Keep = 0.0,
    augment: option.Augment = 0.0,
    max_tokens: option.MaxTokens = 128,
    precision: option.Precision = "auto",
    language: option.Languages = None,
    row_split: option.RowSplit = False,
    device: option.Device = "auto",
    seed: option.Seed = 20,
) -> None:
    """Train models for one or more objectives, fit calibration and thresholds, measure, and publish the release.

    Sets that are not named are cut from the pairs: whole components, a tenth each. Pairs that any chain of shared
    questions ties to a named set are left out of training. Started again after a kill, it goes on from its last
    checkpoint.
    """
    given = sources.read(pairs, subset, columns)
    train, tune, report = sources.cut(
        given,
        tune_pairs,
        report_pairs or [],
        seed,
        by_row=row_split,
        columns=columns,
    )
    options = Options(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        accumulate=accumulate,
        sampler=sampler,
        max_tokens=max_tokens,
        dropout=dropout,
        lora_rank=lora_rank,
        patience=patience,
        precision=precision,
        device=device,
        seed=seed,
    )
    steps = Steps(
        objectives=objective,
        base=base,
        start=start,
        hard_negatives=hard_negatives,
        mine=mine,
        augment=augment,
        keep=keep,
        share=share,
        options=options,
    )
    plan = Plan(
        steps,
        train,
        tune,
        report,
        parent=_release(parent),
        teacher=_release(teacher),
        average=[Release.open(path) for path in average or []],
        limit=limit,
        bits=bits,
        languages=language or [ENGLISH],
        leaks=row_split,
    )
    refuse_unused(plan)
    release = fit(plan, out)
    if release:
        _show(release)


@cli.command("questions")
def questions_command(
    parent: option.GoesOnFrom,
    out: option.Out,
    quora: option.Quora = None,
    paws: option.Paws = None,
    elsewhere: option.PublicSets = None,
    report_pairs: option.ReportPairs = None,
    start: option.NewStart = None,
    teacher: option.ClassifierTeacher = None,
    encoder: option.EncoderAsIs = None,
    finding_teacher: option.FindingTeacher = None,
    limit: option.EpochPairs = None,
    epochs: option.EpochCount = Effort.epochs,
    near: option.NearPairs = Effort.near,
    batch_size: option.LargerBatch = None,
    device: option.Device = "auto",
) -> None:
    """Make the release for questions of any domain, as the one that ships: the written clusters, mixed with other sets.

    Without the sets that are not part of Sameask it learns from the written clusters alone. Started again after a kill,
    it goes on from its last checkpoint.
    """
    report = sources.files(report_pairs or [])
    given = Given(
        Release.open(parent),
        quora,
        paws,
        elsewhere,
        report,
        start,
        _release(teacher),
        encoder,
        _release(finding_teacher),
        Effort(epochs, limit, near, batch_size, device),
    )
    _show(make_questions_release(given, out, ProgressWriter()))


@cli.command("calibrate")
def calibrate_command(
    pairs: option.Pairs,
    out: option.Out,
    subset: option.Subset = "pair-class",
    columns: option.Columns = None,
    report_pairs: option.ReportPairs = None,
    base: option.Base = "all-MiniLM-L6-v2",
    language: option.Languages = None,
    device: option.Device = "auto",
) -> None:
    """Fit a base model's calibration and thresholds, as it is, and publish the release."""
    given = sources.read(pairs, subset, columns)
    tune = Source(given.name, sources.clean(given.pairs))
    report = sources.files(report_pairs or [], columns)
    recipe = Recipe(base=base, tune=tune, report=report, languages=language or [ENGLISH])
    _show(make_release(recipe, out, device))


@cli.command("split")
def split_command(
    pairs: option.Pairs,
    out: option.SplitFolder,
    subset: option.Subset = "pair-class",
    columns: option.Columns = None,
    tune_share: option.TuneShare = SHARES["tune"],
    report_share: option.ReportShare = SHARES["report"],
    seed: option.Seed = 20,
) -> None:
    """Cut labelled pairs into files that share no question and no chain of labels; a share of 0 makes no file."""
    shares = {
        "train": 1 - tune_share - report_share,
        "tune": tune_share,
        "report": report_share,
    }
    if shares["train"] <= 0:
        raise CommandError("--tune-share and --report-share leave nothing to train on")
    if out.exists():
        raise CommandError(f"{out} exists: choose another folder or remove it")
    wanted = {name: share for name, share in shares.items() if share}
    given = sources.read(pairs, subset, columns)
    sets = split(sources.clean(given.pairs), wanted, seed)
    out.mkdir(parents=True)
    for name, part in sets.items():
        write_pairs(out / f"{name}.jsonl", part)


@cli.command("evaluate")
def evaluate_command(
    release: option.ReleaseFolder,
    pairs: option.Pairs,
    subset: option.Subset = "pair-class",
    columns: option.Columns = None,
    corpus: option.Corpus = None,
    by: option.By = None,
    target_precision: option.TargetPrecision = "0.90",
    as_json: option.Json = False,
    device: option.Device = "auto",
    backend: option.Backend = "torch",
) -> None:
    """Measure a release on labelled pairs, through the code that serves: rankings, and the verdicts that users get."""
    texts = sources.texts(corpus) if corpus else None
    given = sources.read(pairs, subset, columns)
    groups = [sources.groups(pairs, column, columns) for column in by or []]
    opened = Release.open(release)
    figures = evaluate(opened, given.pairs, target_precision, texts, groups, device, backend)
    if as_json:
        out.print_json(json.dumps(figures))
    else:
        out.print(figures)


@cli.command("gate")
def gate_command(
    champion: option.Champion,
    challenger: option.Challenger,
    pairs: option.GatePairs,
    elsewhere: option.Elsewhere = None,
    target_precision: option.TargetPrecision = "0.90",
    margin: option.Margin = MARGIN,
    as_json: option.Json = False,
    device: option.Device = "auto",
) -> None:
    """Hold a release against the one that is live, on the same pairs: passed, failed, or not enough evidence."""
    sets = [
        *(EvaluationSet(source.name, source.pairs) for source in sources.files(pairs)),
        *(
            EvaluationSet(source.name, source.pairs, elsewhere=True)
            for source in sources.files(elsewhere or [])
        ),
    ]
    releases = Release.open(champion), Release.open(challenger)
    report = gate(*releases, sets, target_precision, margin, device)
    if as_json:
        out.print_json(_document(report))
        return
    out.print(report.outcome, style="bold")
    _print_lines(report.reasons)


@cli.command("retrain", hidden=True)
def retrain_command(work: option.Work) -> None:
    """What the service starts: make a release from labels and hold it against the champion. Not for hands."""
    retrain(work)


def main() -> None:
    """Entry point: one clear line for an error that is meant for a person."""
    disable_progress_bar()
    try:
        cli()
    except (SameaskError, OSError) as error:
        err.print(
            f"training: {error}",
            style="red",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        raise SystemExit(1) from error


def _release(folder: Path | None) -> Release | None:
    return Release.open(folder) if folder else None


def _document(report: GateReport) -> str:
    """The report as JSON; it names no pairs to label, of which only a service knows."""
    document = asdict(report)
    del document["to_label"]
    return json.dumps(document)


def _show(release: Release) -> None:
    _print_lines([(release.path / "README.md").read_text("utf-8")])
    files = [file for file in release.path.rglob("*") if file.is_file()]
    megabytes = sum(file.stat().st_size for file in files) / 2**20
    classifier = ", with a pair classifier" if release.by_pair else ""
    out.print(f"{release.path}: {megabytes:.1f} MB{classifier}")


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)
