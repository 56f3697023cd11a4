"""Pairs of written questions, which every training from labels sees again, so that nothing learnt before is lost.

A collection's labels are few, easy, and of one domain: a model that learns from them alone forgets the others.
"""

from training.mix import Ingredients, sample_epoch
from training.pairs import LabelledPair
from training.written import read_clusters

CLUSTERS = 250  # of the written ones that a training sees; each makes about twenty pairs


def replayed(seed: int) -> list[LabelledPair]:
    """Duplicates and near-misses of clusters that the seed draws; none of them is measured on."""
    ingredients = Ingredients(read_clusters("train"), cluster_count=CLUSTERS)
    return list(sample_epoch(ingredients, seed).pairs)
