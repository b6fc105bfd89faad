"""The worker's own files among a request's inputs, and when they are others."""

from __future__ import annotations

import pytest

from headstart_worker.messages import Input
from headstart_worker.tool_files import ToolFiles

RAW = b"\x00\xff"
"""Digests are opaque."""


@pytest.mark.parametrize("path", ["bin/tool/a", "bin/tool/deep/b", "./bin//tool/a"])
def test_C68_a_file_below_the_prefix_with_another_digest_has_changed(path: str) -> None:
    files = ToolFiles(("bin/tool/", "elsewhere"))
    assert files.changed([Input("src", RAW), Input(path, RAW)]) is None
    assert files.changed([Input(path, RAW)]) is None
    assert files.changed([]) is None
    assert files.changed([Input("src", RAW), Input(path, RAW + b"2")]) == path


@pytest.mark.parametrize("path", ["src", "bin/toolbox", "bin/tool", "/bin/tool/a", "bin/tool/../a"])
def test_C68_other_inputs_may_change(path: str) -> None:
    files = ToolFiles(("bin/tool",))
    for digest in (b"1", b"2", b"3"):
        assert files.changed([Input(path, digest)]) is None


def test_C68_an_empty_digest_says_nothing() -> None:
    files = ToolFiles(("bin",))
    for digest, changed in ((b"", None), (b"1", None), (b"", None), (b"1", None), (b"2", "bin/a")):
        assert files.changed([Input("bin/a", digest)]) == changed


def test_C68_a_file_that_comes_later_is_compared_with_its_own_first_digest() -> None:
    files = ToolFiles(("bin",))
    assert files.changed([Input("bin/a", b"1")]) is None
    assert files.changed([Input("bin/a", b"1"), Input("bin/b", b"9")]) is None
    assert files.changed([Input("bin/b", b"8")]) == "bin/b"


def test_C68_without_a_prefix_there_are_no_tool_files() -> None:
    files = ToolFiles(())
    for digest in (b"1", b"2"):
        assert files.changed([Input("a", digest)]) is None
