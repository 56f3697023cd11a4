"""The scopes of keys."""

from enum import StrEnum


class KeyScope(StrEnum):
    """What a key lets its holder do."""

    ASK = "ask"  # ask and score, without the names of those who label: for pages of strangers
    READ = "read"  # ask, score, and read what is stored
    WRITE = "write"  # change collections and questions
    LABEL = "label"  # say which pairs are duplicates
    ADMIN = "admin"  # all of these, and what changes the answers to everybody
