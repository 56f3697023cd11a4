"""The options of the commands of `python -m training`: their types, limits and help."""

from pathlib import Path
from typing import Annotated

import typer

from app.engine.training_contract import Device as DeviceName
from app.settings import Backend as BackendName
from app.settings import TargetPrecision as TargetPrecisionName
from training.objectives import OBJECTIVES, ObjectiveName
from training.train import Precision as PrecisionName
from training.train import Sampler as SamplerName


def _file(help_text: str, *names: str) -> typer.models.OptionInfo:
    """An option for files that exist."""
    option: typer.models.OptionInfo = typer.Option(
        *names, exists=True, dir_okay=False, help=help_text
    )
    return option


def _objectives() -> str:
    """The help on objectives: the strengths and weaknesses of each."""
    parts = [
        "What to train for; give it again for another step, which goes on from the one before."
    ]
    for name, objective in OBJECTIVES.items():
        parts.append(f"[bold]{name}[/bold] ({objective.part}): {objective.trade_off}.")
    return "\n\n".join(parts)


Objectives = Annotated[list[ObjectiveName], typer.Option("--objective", help=_objectives())]
Pairs = Annotated[
    list[str],
    typer.Option(
        help="Labelled pairs: a file (CSV, TSV, JSON, .xlsx, Parquet), or a data set on the hub or in a folder. Give it"
        " again for more."
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
TunePairs = Annotated[
    Path | None,
    _file(
        "Pairs to choose, calibrate and set thresholds on.",
        "--tune-pairs",
        "--fit-pairs",
    ),
]
ReportPairs = Annotated[
    list[Path] | None,
    _file("Pairs for figures alone. Give it again for more sets."),
]
Out = Annotated[
    Path,
    typer.Option(help="Folder of the new release; must not exist."),
]
Base = Annotated[
    str,
    typer.Option(help="A known name, a folder, or a name on the hub."),
]
Device = Annotated[DeviceName, typer.Option(help="Where the models run.")]
Seed = Annotated[int, typer.Option(min=0)]
Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on standard output."),
]

# Of `fit`: where it starts

Parent = Annotated[
    Path | None,
    typer.Option(help="A release whose models are where training starts."),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="The model that the first objective starts from instead; named as a base is."
    ),
]
Teacher = Annotated[
    Path | None,
    typer.Option(help="The release that `distill` learns from."),
]

GoesOnFrom = Annotated[
    Path,
    typer.Option(
        exists=True,
        file_okay=False,
        help="The release whose classifier is where training starts.",
    ),
]
Quora = Annotated[Path | None, _file("Labelled pairs of Quora to learn from.")]
Paws = Annotated[Path | None, _file("Labelled pairs of PAWS-QQP to learn from.")]
PublicSets = Annotated[
    Path | None,
    typer.Option(
        "--elsewhere",
        exists=True,
        file_okay=False,
        help="Folder with public sets of other domains, as docs/training.md names them.",
    ),
]

NewStart = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="A model, named as a base is, that a new classifier starts from, beside the parent's bi-encoder.",
    ),
]
ClassifierTeacher = Annotated[
    Path | None,
    typer.Option(
        "--teacher",
        exists=True,
        file_okay=False,
        help="A release whose classifier says how probable a duplicate each pair is, half and half with its label.",
    ),
]
EncoderAsIs = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="A model, named as a base is, that is the bi-encoder as it is, in place of the parent's.",
    ),
]
FindingTeacher = Annotated[
    Path | None,
    typer.Option(
        "--finding-teacher",
        exists=True,
        file_okay=False,
        help="A release whose bi-encoder shows the parent's base how near questions are.",
    ),
]
EpochCount = Annotated[
    int,
    typer.Option(
        "--epochs",
        min=0,
        help="Mixes, each drawn anew, that the classifier learns from; with 0 it stays the parent's.",
    ),
]
NearPairs = Annotated[
    int,
    typer.Option("--near", min=0, help="Near pairs without a label, for --teacher to judge."),
]
LargerBatch = Annotated[
    int | None,
    typer.Option("--batch-size", min=2, help="Pairs in a batch of the classifier; 128 suit a GPU."),
]
EpochPairs = Annotated[
    int | None,
    typer.Option("--limit", min=2, help="No more pairs than these in an epoch."),
]

# How it learns

Epochs = Annotated[
    float | None,
    typer.Option(help="How often each pair is seen; 1 unless said."),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=2, help="Pairs in a batch; 64 unless said."),
]
Accumulate = Annotated[
    int,
    typer.Option(min=1, help="Batches whose gradients make one step."),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Greatest learning rate; 5e-5 unless said."),
]
Sampler = Annotated[
    SamplerName,
    typer.Option(help="How `multi-task` draws from its two data sets."),
]
HardNegatives = Annotated[
    int,
    typer.Option(min=0, help="Mined for each duplicate, for `mnrl`."),
]
Mine = Annotated[
    int,
    typer.Option(
        min=0,
        help="Near pairs that nobody labelled, for the teacher of `distill` to judge.",
    ),
]
Dropout = Annotated[
    bool,
    typer.Option(help="Keep the base's dropout; slower, and of use over many epochs."),
]
LoraRank = Annotated[
    int | None,
    typer.Option(min=1, help="Train low-rank terms of this rank alone."),
]
Patience = Annotated[
    int | None,
    typer.Option(min=1, help="Evaluations without progress before it stops."),
]
Limit = Annotated[
    int | None,
    typer.Option(min=2, help="Learn from so many pairs only."),
]
Augment = Annotated[
    float,
    typer.Option(
        min=0,
        help="Pairs to make by rule for the classifier, for each that there is.",
    ),
]
MaxTokens = Annotated[
    int,
    typer.Option(min=8, help="Of a text or a pair; longer ones are cut."),
]
Languages = Annotated[
    list[str] | None,
    typer.Option(
        "--language",
        help="Of the questions, by BCP 47, once for each; English if left out, the parent's with --parent.",
    ),
]
Precision = Annotated[
    PrecisionName,
    typer.Option(help="auto: bfloat16 where the hardware computes in it."),
]
RowSplit = Annotated[
    bool,
    typer.Option(
        help="Cut rows at random, as some published figures do. Questions leak between sets."
    ),
]

# What it publishes

Bits = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=8,
        help="Publish differences from the base, in so many bits for each weight; 3 lose next to"
        " nothing. Whole models unless said.",
    ),
]
Average = Annotated[
    list[Path] | None,
    typer.Option(
        help="A release of whose model's weights and the trained one's the mean is published; again for more."
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Share of the trained model in that mean; as each other's if not said.",
    ),
]
Keep = Annotated[
    float,
    typer.Option(
        min=0,
        max=0.9,
        help="Share of its start's weights that a trained bi-encoder keeps.",
    ),
]

# Of the other commands

SplitFolder = Annotated[
    Path,
    typer.Option(help="Folder for train.jsonl, tune.jsonl and report.jsonl; must not exist."),
]
TuneShare = Annotated[float, typer.Option("--tune-share", "--fit-share", min=0, max=0.9)]
ReportShare = Annotated[float, typer.Option(min=0, max=0.9)]
ReleaseFolder = Annotated[Path, typer.Option(help="Folder of the release.")]
Corpus = Annotated[
    list[Path] | None,
    typer.Option(help="Questions to search among: files with question1 and question2."),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        help="A column of the files, such as domain or kind, by whose values verdicts are told, too. Give it again for"
        " more."
    ),
]
Backend = Annotated[
    BackendName,
    typer.Option(help="Backend of the models on a CPU, as SAMEASK_BACKEND names it."),
]
Champion = Annotated[Path, typer.Option(help="Folder of the release that is live.")]
Challenger = Annotated[
    Path,
    typer.Option(help="Folder of the release that would take its place."),
]
GatePairs = Annotated[
    list[Path],
    _file("Labelled pairs that neither learnt from. Again for more sets."),
]
Elsewhere = Annotated[
    list[Path] | None,
    _file("Pairs of other domains, which only guard against harm."),
]
TargetPrecision = Annotated[TargetPrecisionName, typer.Option()]
Margin = Annotated[float, typer.Option(min=0, help="A loss that nobody would mind.")]
Work = Annotated[
    Path,
    typer.Option(
        exists=True,
        file_okay=False,
        help="Folder with request.json and labels.jsonl.",
    ),
]
