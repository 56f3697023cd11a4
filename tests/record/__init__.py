"""A record of what the service does, seen from outside, to compare any later commit with.

    python -m tests.record make     run the service of this checkout and write the record
    python -m tests.record check    run it again and print every difference; exit code 1 if there is one

The record is what stands in `recorded/`:

    openapi.json        the OpenAPI document
    help.txt            `--help` of every command
    commands.txt        commands and what they print, against a running server
    metrics.txt         names, types, help and labels of the metrics
    exchanges.jsonl     requests and their answers, one exchange a line
    webhook.jsonl       the webhook's requests, one a line
    kept.tar.xz         tiny models, two releases and a data directory, left by a server that was killed
    agreed.json         differences that are meant, each with its reason

Only outer surfaces are used: the server's process, its HTTP, the commands, the files. No module of `app` or
`training` is imported, so the modules may move. `masks` names what may vary from run to run.
"""
