"""Which files a job may read without a declaration because of where they are."""

from __future__ import annotations

import pytest

from headstart_wrapper.sandbox.audit import _is_free


@pytest.mark.parametrize(
    ("path", "directory", "free"),
    [
        ("/usr/include/stdio.h", "/w", True),
        ("/usr/include/stdio.h", "/", True),
        ("/usr/include/stdio.h", "/usr/src/w", True),
        ("/usr/src/w/a.h", "/usr/src/w", False),
        ("/usr/src/wx/a.h", "/usr/src/w", True),
        ("/usrx/a.h", "/w", False),
        ("/home/u/.rustup/toolchains/x/lib/rustlib/src/rust/library/core/src/lib.rs", "/w", True),
        ("/w/external/x/lib/clang/19/include/a.h", "/w", False),
        ("/w/a.h", "/w", False),
        ("/w/a.h", "/", False),
        ("/wx/a.h", "/w", False),
        ("/dev/null", "/w", True),
    ],
)
def test_what_the_system_and_toolchains_have_is_free(path: str, directory: str, *, free: bool) -> None:
    assert _is_free(path, directory) == free
