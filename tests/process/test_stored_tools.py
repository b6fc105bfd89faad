"""What was found for a tool outlives the process that found it, and is believed only while it is true."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart_wrapper.sandbox import toolchain
from headstart_wrapper.sandbox.closure import Tools
from process.tool_jobs import PLAIN

Look = Callable[..., Tools]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "cache/tools"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    made = tmp_path / "script"
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    return made


@pytest.fixture
def look(store: Path, script: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Finds the script's tools as a process that has just begun does."""

    def find(**env: str) -> Tools:
        monkeypatch.setattr(toolchain, "_kept", {})
        return toolchain.tools(str(script), [str(script)], env=PLAIN | env, cwd="/", store=str(store))

    return find


def only(store: Path) -> Path:
    (stored,) = store.iterdir()
    return stored


def marked(stored: Path) -> Tools:
    """Changes what is stored, so that one sees whether it is believed."""
    content = json.loads(stored.read_text())
    content[4][0] = ["/marked"]
    stored.write_text(json.dumps(content))
    files, directories, programs, listed = map(tuple, content[4][:4])
    links = tuple((at, written) for at, written in content[4][4])
    return Tools(files=files, directories=directories, programs=programs, listed=listed, links=links)


def test_what_is_stored_is_what_was_found(look: Look, store: Path) -> None:
    found = look()
    assert look() == found
    expected = marked(only(store))
    assert look() == expected != found
    assert store.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("change", ["tool", "question", "format"])
def test_I13_what_is_not_true_any_more_is_found_anew(
    look: Look, store: Path, script: Path, change: str
) -> None:
    found = look()
    stored = only(store)
    marked(stored)
    if change == "tool":
        script.write_text("#!/bin/sh -e\n")
    else:
        content = json.loads(stored.read_text())
        content[0 if change == "format" else 1] = "another"
        stored.write_text(json.dumps(content))
    assert look() == found
    marked(stored)
    assert look().files == ("/marked",)  # the file was replaced


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1", b"[]", b"[1, 2, 3, 4, 5]", b"\xff", b"[" * 100_000, b"null"]
)
def test_I13_a_corrupt_file_is_replaced(look: Look, store: Path, content: bytes) -> None:
    found = look()
    stored = only(store)
    whole = stored.read_bytes()
    stored.write_bytes(content)
    assert look() == found
    assert stored.read_bytes() == whole


def test_I13_every_truncation_is_replaced(look: Look, store: Path) -> None:
    found = look()
    stored = only(store)
    whole = stored.read_bytes()
    for length in range(0, len(whole), 499):
        stored.write_bytes(whole[:length])
        assert look() == found
        assert stored.read_bytes() == whole


@pytest.mark.parametrize("whose", ["directory", "file", "other"])
def test_I11_what_others_could_have_written_is_not_believed(look: Look, store: Path, whose: str) -> None:
    found = look()
    marked(only(store))
    if whose == "directory":
        store.chmod(0o777)
    elif whose == "file":
        only(store).chmod(0o666)
    elif os.geteuid():
        pytest.skip("only root can make a file somebody else's")
    else:
        os.chown(only(store), 65534, 65534)
    assert look() == found


def test_a_store_that_cannot_be_had_costs_nothing_but_time(look: Look, store: Path, script: Path) -> None:
    store.parent.write_text("no directory")
    assert look().programs[0] == str(script)


def test_another_environment_is_another_question(look: Look, store: Path) -> None:
    look()
    look(LD_LIBRARY_PATH="/nowhere")
    assert len(list(store.iterdir())) == 2
    look(UNRELATED="1")
    look(LD_LIBRARY_PATH="relative")  # holds in one directory only
    assert len(list(store.iterdir())) == 2


def test_the_store_does_not_grow_for_ever(look: Look, store: Path) -> None:
    store.mkdir(parents=True)
    for number in range(256):
        (store / str(number)).touch()
    look()
    assert len(list(store.iterdir())) == 1
