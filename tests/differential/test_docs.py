"""docs/broker.md says what the table of named differences says."""

from __future__ import annotations

from pathlib import Path

from tests.differential.differences import DIFFERENCES, VERSION

PAGE = Path(__file__).parents[2] / "docs" / "broker.md"


def test_the_page_has_the_table():
    page = PAGE.read_text()
    table = [
        f"| {each.name} | {each.rabbitmq} | {each.embedded} | {each.reason} |"
        for each in DIFFERENCES
    ]
    head = "| difference | RabbitMQ | the embedded broker | why |\n|---|---|---|---|\n"
    assert head + "\n".join(table) + "\n" in page
    assert f"RabbitMQ {VERSION}" in page
