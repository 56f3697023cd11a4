"""Which releases there are, which one is live, and how another takes its place."""
