"""The commands of `python -m training`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from app.errors import SameaskError
from training.calibrate import calibrate

cli = typer.Typer(
    name="python -m training",
    help="Make releases from labelled pairs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.callback()
def training() -> None:
    """Make releases from labelled pairs."""


@cli.command("calibrate")
def calibrate_command(
    pairs: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Labelled pairs to fit on.")],
    out: Annotated[Path, typer.Option(help="Folder of the new release; must not exist.")],
    base: Annotated[str, typer.Option(help="A known name, a folder, or a name on the hub.")] = "all-MiniLM-L6-v2",
    report: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Pairs for figures only.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Fit a base model's calibration and thresholds, as it is, and publish the release."""
    release = calibrate(base, pairs, report, out, device)
    Console().print((release.path / "README.md").read_text("utf-8"), highlight=False, markup=False)


def main() -> None:
    """Entry point: one clear line for an error that is meant for a person."""
    disable_progress_bar()
    try:
        cli()
    except SameaskError as error:
        Console(stderr=True).print(f"training: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(1) from error
