"""Findings as people read them: one line each, in a stable order, each once."""

from __future__ import annotations

import pytest

from headstart_wrapper.sandbox.declared import Declared
from headstart_wrapper.sandbox.verdict import Finding, Kind, found, merged, sentence, spelled, split

READ = found(Kind.UNDECLARED_READ, "data.txt", "out/lib.d names it")


def test_a_sentence_says_what_how_and_what_to_do() -> None:
    assert sentence(READ, "out.o") == (
        "data.txt was read and is not declared (out/lib.d names it); "
        "declare it: --input=data.txt, or an input of the action"
    )
    assert sentence(Finding(Kind.NETWORK, "10.0.0.1:80"), "out.o") == "the network was used: 10.0.0.1:80"


def test_a_refusal_names_the_job() -> None:
    told = sentence(Finding(Kind.DENIED, "inc/a.h", "reading by cc1 was refused"), "main.o")
    assert told == "the sandbox kept the job of main.o from inc/a.h (reading by cc1 was refused)"


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_sentence_with_its_path(kind: Kind) -> None:
    path = "{}%s{0}"
    assert path in sentence(found(kind, path, "d"), "out.o")
    assert "\n" not in sentence(found(kind, "a\nb\x1b\udcff", "d\ne"), "out.o")


def test_findings_are_told_once_and_in_order() -> None:
    missing = found(Kind.MISSING_OUTPUT, "a")
    by_trace = Finding(Kind.UNDECLARED_READ, "data.txt", "read by rustc")
    other = found(Kind.UNDECLARED_READ, "a.txt")
    both = Finding(READ.kind, READ.path, "out/lib.d names it; read by rustc", READ.remedy)
    assert merged([missing, READ, by_trace, other, READ, by_trace]) == [other, both, missing]
    assert merged([by_trace, found(Kind.UNDECLARED_READ, "data.txt")])[0].remedy == READ.remedy


def test_paths_are_spelled_as_their_declaration_would() -> None:
    declared = Declared(directory="/r", spellings=(("/stage", "out"), ("/r/own", "/w")))
    places = {"/r/src/a.rs": "src/a.rs", "/stage/x/a.o": "out/x/a.o", "/r/own/a": "/w/a", "/rx/a": "/rx/a"}
    assert {path: spelled(path, declared) for path in places} == places


def test_what_is_no_fault_is_told_in_sums() -> None:
    probes = [Finding(Kind.UNDECLARED_PROBE, f"inc/{name}.h") for name in "ab"]
    read = found(Kind.UNDECLARED_READ, "inc/c.h")
    sums, left = split([probes[0], read, probes[1]])
    assert sums == [
        "undeclared names that were looked for in vain: 2, inc/a.h the first; headstart check lists them"
    ]
    assert left == [read]
    assert split([read]) == ([], [read])
