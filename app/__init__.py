"""Sameask: a REST microservice that answers "has this question been asked before?"."""

__version__ = "0.1.0"
