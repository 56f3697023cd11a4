"""The commands of `python -m training`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from app.engine.release import Release
from app.engine.rows import read_rows
from app.errors import CommandError, SameaskError
from app.settings import Backend
from training.build import Recipe, Source, make_release
from training.evaluation import evaluate
from training.fit import SHARES, Plan, fit
from training.gate import MARGIN, Asked, gate
from training.objectives import OBJECTIVES, ObjectiveName
from training.pairs import (
    COLUMNS,
    LABELLED,
    LabelledPair,
    cleaned,
    read_dataset,
    read_pairs,
    write_pairs,
)
from training.retrain import retrain
from training.splits import apart, split, split_rows
from training.train import Options

SHOWN_CONTRADICTIONS = 10

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

Pairs = Annotated[
    list[str],
    typer.Option(
        help="Labelled pairs: a CSV, TSV, JSONL or Parquet file, or a data set on the hub or in a folder. Give it again"
        " for more."
    ),
]
Subset = Annotated[
    str,
    typer.Option(
        help="Subset of a data set: pair-class, pair, triplet, triplet-all, triplet-hard."
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Names of the two questions' and the label's columns, with commas between them."
    ),
]
FitPairs = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="Pairs to choose, calibrate and set thresholds on."
    ),
]
ReportPairs = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True, dir_okay=False, help="Pairs for figures alone. Give it again for more sets."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder of the new release; must not exist.")]
Base = Annotated[str, typer.Option(help="A known name, a folder, or a name on the hub.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the models run.")]

OBJECTIVES_HELP = (
    "What to train for; give it again for another step, which goes on from the one before.\n\n"
    + "\n\n".join(
        f"[bold]{name}[/bold] ({objective.part}): {objective.trade_off}."
        for name, objective in OBJECTIVES.items()
    )
)


@cli.callback()
def training() -> None:
    """Make releases from labelled pairs."""


@cli.command("fit")
def fit_command(
    objective: Annotated[list[ObjectiveName], typer.Option(help=OBJECTIVES_HELP)],
    pairs: Pairs,
    out: Out,
    subset: Subset = "pair-class",
    columns: Columns = None,
    fit_pairs: FitPairs = None,
    report_pairs: ReportPairs = None,
    base: Base = "all-MiniLM-L6-v2",
    parent: Annotated[
        Path | None, typer.Option(help="A release whose models are where training starts.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="What the first objective starts from instead of these; named as a base is."
        ),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="The release that `distill` learns from.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="How often each pair is seen; 1 unless said.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Pairs in a batch; 64 unless said.")
    ] = None,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Batches whose gradients make one step.")
    ] = 1,
    learning_rate: Annotated[
        float | None, typer.Option(help="Greatest learning rate; 5e-5 unless said.")
    ] = None,
    sampler: Annotated[
        Literal["proportional", "round-robin"],
        typer.Option(help="How `multi-task` draws from its two data sets."),
    ] = "proportional",
    hard_negatives: Annotated[
        int, typer.Option(min=0, help="Mined for each duplicate, for `mnrl`.")
    ] = 0,
    mine: Annotated[
        int,
        typer.Option(
            min=0, help="Near pairs that nobody labelled, for the teacher of `distill` to judge."
        ),
    ] = 0,
    dropout: Annotated[
        bool, typer.Option(help="Keep the base's dropout; slower, and of use over many epochs.")
    ] = False,
    lora_rank: Annotated[
        int | None, typer.Option(min=1, help="Train low-rank terms of this rank alone.")
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=8,
            help="Publish differences from the base, in so many bits for each weight; 3 lose next to"
            " nothing. Whole models unless said.",
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Evaluations without progress before it stops.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Learn from so many pairs only.")] = None,
    average: Annotated[
        list[Path] | None,
        typer.Option(
            help="A release of whose model's weights and the trained one's the mean is published; again for more."
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the trained model in that mean; as each other's if not said.",
        ),
    ] = None,
    keep: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Share of its start's weights that a trained bi-encoder keeps."
        ),
    ] = 0.0,
    augment: Annotated[
        float,
        typer.Option(
            min=0, help="Pairs to make by rule for the classifier, for each that there is."
        ),
    ] = 0.0,
    max_tokens: Annotated[
        int, typer.Option(min=8, help="Of a text or a pair; longer ones are cut.")
    ] = 128,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="auto: bfloat16 where the hardware computes in it."),
    ] = "auto",
    row_split: Annotated[
        bool,
        typer.Option(
            help="Cut rows at random, as some published figures do. Questions leak between sets."
        ),
    ] = False,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0)] = 20,
) -> None:
    """Train models for one or more objectives, fit calibration and thresholds, measure, and publish the release.

    Sets that are not named are cut from the pairs: whole components, a tenth each. Pairs that any chain of shared
    questions ties to a named set are left out of training. Started again after a kill, it goes on from its last
    checkpoint.
    """
    train, fitted, *reported = _sets(
        _read(pairs, subset, columns), fit_pairs, report_pairs or [], seed, by_row=row_split
    )
    plan = Plan(
        objectives=objective,
        base=base,
        train=train,
        fit=fitted,
        report=reported,
        options=Options(
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
        ),
        bits=bits,
        parent=Release.open(parent) if parent else None,
        start=start,
        teacher=Release.open(teacher) if teacher else None,
        hard_negatives=hard_negatives,
        mine=mine,
        limit=limit,
        augment=augment,
        average=[Release.open(path) for path in average or []],
        share=share,
        keep=keep,
        leaks=row_split,
    )
    if release := fit(plan, out):
        _show(release)


@cli.command("calibrate")
def calibrate_command(
    pairs: Pairs,
    out: Out,
    subset: Subset = "pair-class",
    columns: Columns = None,
    report_pairs: ReportPairs = None,
    base: Base = "all-MiniLM-L6-v2",
    device: Device = "auto",
) -> None:
    """Fit a base model's calibration and thresholds, as it is, and publish the release."""
    given = _read(pairs, subset, columns)
    fitted = Source(given.name, _cleaned(given.pairs))
    _show(
        make_release(Recipe(base=base, fit=fitted, report=_files(report_pairs or [])), out, device)
    )


@cli.command("split")
def split_command(
    pairs: Pairs,
    out: Annotated[
        Path,
        typer.Option(help="Folder for train.jsonl, fit.jsonl and report.jsonl; must not exist."),
    ],
    subset: Subset = "pair-class",
    columns: Columns = None,
    fit_share: Annotated[float, typer.Option(min=0, max=0.9)] = SHARES["fit"],
    report_share: Annotated[float, typer.Option(min=0, max=0.9)] = SHARES["report"],
    seed: Annotated[int, typer.Option(min=0)] = 20,
) -> None:
    """Cut labelled pairs into files that share no question and no chain of labels; a share of 0 makes no file."""
    shares = {"train": 1 - fit_share - report_share, "fit": fit_share, "report": report_share}
    if shares["train"] <= 0:
        raise CommandError("--fit-share and --report-share leave nothing to train on")
    if out.exists():
        raise CommandError(f"{out} exists: choose another folder or remove it")
    sets = split(
        _cleaned(_read(pairs, subset, columns).pairs), {n: s for n, s in shares.items() if s}, seed
    )
    out.mkdir(parents=True)
    for name, part in sets.items():
        write_pairs(out / f"{name}.jsonl", part)


@cli.command("evaluate")
def evaluate_command(
    release: Annotated[Path, typer.Option(help="Folder of the release.")],
    pairs: Pairs,
    subset: Subset = "pair-class",
    columns: Columns = None,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(help="Questions to search among: files with question1 and question2."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
    device: Device = "auto",
    backend: Annotated[
        Backend, typer.Option(help="What runs the models on a CPU, as SAMEASK_BACKEND has it.")
    ] = "torch",
) -> None:
    """Measure a release on labelled pairs, through the code that serves."""
    texts = [text for file in corpus for text in _texts(file)] if corpus else None
    figures = evaluate(
        Release.open(release), _read(pairs, subset, columns).pairs, texts, device, backend
    )
    if as_json:
        out.print_json(json.dumps(figures))
    else:
        out.print(figures)


@cli.command("gate")
def gate_command(
    champion: Annotated[Path, typer.Option(help="Folder of the release that is live.")],
    challenger: Annotated[
        Path, typer.Option(help="Folder of the release that would take its place.")
    ],
    pairs: Annotated[
        list[Path],
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Labelled pairs that neither learnt from. Again for more sets.",
        ),
    ],
    elsewhere: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Pairs of other domains, which only guard against harm.",
        ),
    ] = None,
    target_precision: Annotated[Literal["0.90", "0.95", "0.98", "0.99"], typer.Option()] = "0.90",
    margin: Annotated[float, typer.Option(min=0, help="A loss that nobody would mind.")] = MARGIN,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Hold a release against the one that is live, on the same pairs: passed, failed, or not enough evidence."""
    sets = [Asked(source.name, source.pairs) for source in _files(pairs)]
    sets += [Asked(source.name, source.pairs, elsewhere=True) for source in _files(elsewhere or [])]
    verdict = gate(
        Release.open(champion), Release.open(challenger), sets, target_precision, margin, device
    )
    if as_json:
        out.print_json(json.dumps(verdict.document()))
        return
    out.print(verdict.outcome, style="bold")
    for reason in verdict.reasons:
        out.print(reason, highlight=False, markup=False, soft_wrap=True)


@cli.command("retrain", hidden=True)
def retrain_command(
    work: Annotated[
        Path,
        typer.Option(
            exists=True, file_okay=False, help="Folder with request.json and labels.jsonl."
        ),
    ],
) -> None:
    """What the service starts: make a release from labels and hold it against the champion. Not for hands."""
    retrain(work)


def main() -> None:
    """Entry point: one clear line for an error that is meant for a person."""
    disable_progress_bar()
    try:
        cli()
    except (SameaskError, OSError) as error:
        err.print(f"training: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(1) from error


def _read(sources: Sequence[str], subset: str, columns: str | None) -> Source:
    """Labelled pairs of files, or of data sets by their names or folders."""
    names = columns.split(",") if columns else None
    if names and len(names) != len(COLUMNS):
        raise CommandError(f"--columns takes three names with commas between them, not {columns!r}")
    pairs = [pair for source in sources for pair in _read_one(source, subset, names)]
    return Source(", ".join(_name(Path(s)) if Path(s).is_file() else s for s in sources), pairs)


def _read_one(source: str, subset: str, names: Sequence[str] | None) -> list[LabelledPair]:
    if Path(source).is_file():
        return read_pairs(Path(source), names or COLUMNS)
    if Path(source).suffix and not Path(source).is_dir():
        raise CommandError(f"there is no file {source}")
    return read_dataset(source, subset, names or LABELLED)


def _sets(
    given: Source, fit_file: Path | None, report_files: Sequence[Path], seed: int, *, by_row: bool
) -> list[Source]:
    """Pairs to train on, to fit on and to report on; those that have no file are cut from the pairs."""
    fitted, reported = _files([fit_file] if fit_file else []), _files(report_files)
    pairs = _cleaned(given.pairs)
    if by_row:
        err.print(
            "split by row: questions leak from the training set into the others", style="yellow"
        )
    else:
        free = apart(pairs, *(source.pairs for source in (*fitted, *reported)))
        if len(free) < len(pairs):
            err.print(
                f"{len(pairs) - len(free):,} pairs left out: they are tied to pairs of the other sets"
            )
        pairs = free
    lacking = [name for name, files in (("fit", fitted), ("report", reported)) if not files]
    cut = (split_rows if by_row else split)(
        pairs, {name: SHARES[name] for name in ("train", *lacking)}, seed
    )
    parts = {name: Source(f"{given.name}: its part {name}", part) for name, part in cut.items()}
    train = Source(given.name, parts["train"].pairs)
    return [train, *(fitted or [parts["fit"]]), *(reported or [parts["report"]])]


def _files(paths: Sequence[Path]) -> list[Source]:
    return [Source(_name(path), _cleaned(read_pairs(path))) for path in paths]


def _name(path: Path) -> str:
    """By which a file can be told from others of its name, and which says nothing else of where it lay."""
    return "/".join(path.resolve().parts[-2:])


def _cleaned(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    kept, report = cleaned(pairs)
    err.print(str(report), highlight=False)
    for first, second in report.contradictions[:SHOWN_CONTRADICTIONS]:
        err.print(
            f"  labelled both ways: {first!r}, {second!r}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return kept


def _texts(file: Path) -> list[str]:
    """The distinct questions of a file of pairs."""
    texts: dict[str, None] = {}
    for row in read_rows(file, COLUMNS[:2]):
        if row.error:
            raise CommandError(f"{file}:{row.line}: {row.error}")
        texts.update(dict.fromkeys(row.values))
    return list(texts)


def _show(release: Release) -> None:
    out.print(
        (release.path / "README.md").read_text("utf-8"),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    size = sum(file.stat().st_size for file in release.path.rglob("*") if file.is_file()) / 2**20
    out.print(
        f"{release.path}: {size:.1f} MB" + (", with a pair classifier" if release.by_pair else "")
    )
