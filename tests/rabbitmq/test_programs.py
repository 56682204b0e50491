"""Where the programs are, and what is said where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rabbitmq.programs import Missing, find
from tests.rabbitmq.stage import KeeperProcess


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o755)
    return path


def release(folder: Path) -> Path:
    """What a release of RabbitMQ looks like, with nothing in it; returns its scripts' folder."""
    for name in ("rabbitmq-server", "rabbitmqctl", "rabbitmq-env"):
        program(folder / "sbin" / name)
    (folder / "plugins" / "rabbit-3.12.1").mkdir(parents=True)
    return folder / "sbin"


def erlang(folder: Path) -> Path:
    for name in ("erl", "epmd"):
        program(folder / name)
    return folder


def test_a_release_is_found_in_the_search_path(tmp_path: Path) -> None:
    scripts, others = release(tmp_path / "release"), erlang(tmp_path / "bin")
    found = find(f"{others}:{scripts}", packaged=())
    assert (found.server, found.ctl, found.epmd, found.version) == (
        str(scripts / "rabbitmq-server"),
        str(scripts / "rabbitmqctl"),
        str(others / "epmd"),
        "3.12.1",
    )


def test_links_to_the_scripts_are_followed(tmp_path: Path) -> None:
    scripts, others = release(tmp_path / "release"), erlang(tmp_path / "bin")
    (others / "rabbitmq-server").symlink_to(scripts / "rabbitmq-server")
    assert find(str(others), packaged=()).server == str(scripts / "rabbitmq-server")


def test_a_wrapper_of_a_package_is_not_taken_for_the_script(tmp_path: Path) -> None:
    scripts, others = release(tmp_path / "release"), erlang(tmp_path / "bin")
    program(others / "rabbitmq-server")
    assert find(str(others), packaged=(str(scripts),)).server == str(scripts / "rabbitmq-server")
    with pytest.raises(Missing, match="no rabbitmq-server"):
        find(str(others), packaged=())


def test_what_is_missing_is_named_with_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(Missing) as missing:
        find(str(tmp_path), packaged=())
    assert "no rabbitmq-server, no erl, no epmd" in str(missing.value)
    assert "apt-get install rabbitmq-server" in str(missing.value)


def test_without_the_programs_the_keeper_ends_with_one_line(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path, environment={"PATH": str(tmp_path)})
    status, said = keeper.ended()
    assert status == 2
    assert said.count("\n") == 1
    assert "apt-get install rabbitmq-server" in said
    assert keeper.folders == []


def test_without_a_token_it_does_not_start(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path, environment={"AMQPOOL_KEEPER_TOKEN": ""})
    assert keeper.ended() == (2, "rabbitmq: set AMQPOOL_KEEPER_TOKEN to the control token\n")
