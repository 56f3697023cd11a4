"""Several servers on one machine: their database, if none is given, and the parent that keeps all of them running."""
