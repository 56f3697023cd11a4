"""The `sameask` command: one file a group of commands."""
