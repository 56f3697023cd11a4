"""The PostgreSQL of tests is a real one."""

import psycopg

from tests.postgres import Postgres


def test_database_is_empty_and_knows_vectors(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone()
        connection.execute("CREATE EXTENSION vector")
        similarity = connection.execute("SELECT -('[1,2]'::vector <#> '[3,4]')").fetchone()
    assert tables == (0,)
    assert similarity == (11.0,)


def test_killed_server_starts_again(postgres: Postgres, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    postgres.kill()
    postgres.start()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
