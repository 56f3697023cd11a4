"""Prints a comment that names stored issues which ask the same as a new one; nothing where there is none.

It is advisory: it closes nothing, and whoever reads it decides. docs/how-to/github-issues.md says how it is used.
"""

import argparse

from sameask_client import Candidate, Client

MOST = 3


def comment(candidates: list[Candidate]) -> str:
    """The comment in Markdown. Titles come from anybody: they stand as code, in which nothing is a link or a name."""
    lines = ["This may have been asked before:", ""]
    for candidate in candidates:
        title = candidate.text.replace("`", "'")
        said = "the same" if candidate.verdict == "duplicate" else "perhaps the same"
        lines.append(
            f"- #{candidate.id} `{title}` ({said}, probability {candidate.probability:.2f})"
        )
    return "\n".join([*lines, "", "A person decides; nothing is closed by this."])


def main() -> None:
    """Ask for one title."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("title")
    parser.add_argument("--number", required=True, help="of the issue, which is left out itself")
    parser.add_argument("--collection", default="issues")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--store", action="store_true", help="store the issue after it was asked")
    given = parser.parse_args()
    with Client(given.url) as sameask:
        found = sameask.find_duplicates(
            given.title, collection=given.collection, top_k=MOST, exclude_ids=[given.number]
        )
        if given.store:
            sameask.upsert_questions([(given.number, given.title)], collection=given.collection)
    likely = [one for one in found.results[0].candidates if one.verdict != "different"]
    if likely:
        print(comment(likely))


if __name__ == "__main__":
    main()
