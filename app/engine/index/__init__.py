"""Vectors in, nearest neighbours out: the index of a collection, its snapshots, all near pairs of a set."""
