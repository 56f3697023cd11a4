"""Labelled pairs of our own writing, of domains that no release is trained on: on them backends and releases are held
against one another."""

from pathlib import Path

OUT_OF_DOMAIN = Path(__file__).parent / "out_of_domain.tsv"
