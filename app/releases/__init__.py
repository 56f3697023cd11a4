"""The releases that there are, the live one among them, and the way of another to its place."""
