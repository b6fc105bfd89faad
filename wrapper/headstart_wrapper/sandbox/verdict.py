"""What a check found: one record for each thing, and how it is told in a sentence. Pure."""

from __future__ import annotations

import posixpath
from enum import StrEnum

from headstart_wrapper.hints import TYPE_CHECKING, Final
from headstart_wrapper.records import Record, evolve
from headstart_wrapper.text import unsurrogated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headstart_wrapper.sandbox.declared import Declared


class Kind(StrEnum):
    """What can be wrong with what a job read and wrote; the value is its name in files."""

    UNDECLARED_READ = "undeclared-read"
    UNDECLARED_VARIABLE = "undeclared-variable"
    UNDECLARED_WRITE = "undeclared-write"
    UNDECLARED_PROBE = "undeclared-probe"
    UNDECLARED_LISTING = "undeclared-listing"
    MISSING_OUTPUT = "missing-output"
    UNDECLARED_OUTPUT = "undeclared-output"
    INCOMPLETE_OUTPUT = "incomplete-output"
    LEAKED_PATH = "leaked-path"
    UNUSED_INPUT = "unused-input"
    NETWORK = "network"
    DENIED = "denied"


class Finding(Record):
    """One thing that a check found.

    Attributes:
        kind: what it is.
        path: the file, directory, variable or address that it is about, spelled as its declaration would.
        detail: how it is known, or where in the file: a clause without a full stop; "" when there is nothing to add.
        remedy: what to add to the rule or the command, as an imperative clause; "" when there is none.
    """

    kind: Kind
    path: str
    detail: str = ""
    remedy: str = ""


_TOLD: Final = {
    Kind.UNDECLARED_READ: "{} was read and is not declared",
    Kind.UNDECLARED_VARIABLE: "the variable {} was read and is not declared",
    Kind.UNDECLARED_WRITE: "{} was written and is not declared",
    Kind.UNDECLARED_PROBE: "{} was looked for and is not declared",
    Kind.UNDECLARED_LISTING: "the directory {} was listed and is not declared",
    Kind.MISSING_OUTPUT: "{} is declared and was not made",
    Kind.UNDECLARED_OUTPUT: "{} was made and is not declared",
    Kind.INCOMPLETE_OUTPUT: "{} is not complete",
    Kind.LEAKED_PATH: "{} names a directory of this machine",
    Kind.UNUSED_INPUT: "{} is declared and was not read",
    Kind.NETWORK: "the network was used: {}",
    Kind.DENIED: "the sandbox kept the job of {job} from {}",
}

_SUMMED: Final = {
    Kind.UNDECLARED_PROBE: "undeclared names that were looked for in vain: {}",
    Kind.UNDECLARED_LISTING: "undeclared directories that were listed: {}",
}

REMEDIES: Final = {
    Kind.UNDECLARED_READ: "declare it: --input={}, or an input of the action",
    Kind.UNDECLARED_VARIABLE: "declare it: --env={}=VALUE, or a variable of the action",
    Kind.UNDECLARED_WRITE: "declare it: --output={}, or an output of the action",
    Kind.MISSING_OUTPUT: "leave it out, or have the command make it",
    Kind.UNDECLARED_OUTPUT: "declare it: --output={}, or an output of the action",
    Kind.INCOMPLETE_OUTPUT: "build it again, and see to its disk and to what else writes it",
    Kind.LEAKED_PATH: "have it mapped: --remap-path-prefix of rustc, -ffile-prefix-map of gcc and clang",
    Kind.UNUSED_INPUT: "leave it out, unless another configuration needs it",
}
"""What to do about a finding, where that is the same for all of its kind; `{}` stands for its path."""

_ORDER: Final = {kind: place for place, kind in enumerate(Kind)}
_AND: Final = "; "


def found(kind: Kind, path: str, detail: str = "") -> Finding:
    """A finding with its kind's remedy."""
    return Finding(kind, path, detail, REMEDIES.get(kind, "").replace("{}", path))


def spelled(path: str, declared: Declared) -> str:
    """An absolute path as its declaration would have it: relative to the job's directory, where it is below that."""
    for private, shown in (*declared.spellings, (declared.directory, "")):
        if path.startswith(f"{private}/"):
            return posixpath.join(shown, path.removeprefix(f"{private}/"))
    return path


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each kind and path, in the order of kinds and paths: what several checks know of it stands together."""
    whole: dict[tuple[Kind, str], Finding] = {}
    for finding in findings:
        key = finding.kind, finding.path
        before = whole.get(key)
        if before is None:
            whole[key] = finding
        elif finding.detail not in before.detail.split(_AND):
            detail = _AND.join(filter(None, (before.detail, finding.detail)))
            whole[key] = evolve(before, detail=detail, remedy=before.remedy or finding.remedy)
    return sorted(whole.values(), key=lambda finding: (_ORDER[finding.kind], finding.path))


def split(findings: Iterable[Finding]) -> tuple[list[str], list[Finding]]:
    """Findings that are told in sums, and the others.

    What was looked for and is not there, and what directories hold, counts for those who cache results; a compile has hundreds of
    them, and none is a fault.
    """
    told = list(findings)
    summed = {
        kind: [finding for finding in told if finding.kind is kind]
        for kind in (Kind.UNDECLARED_PROBE, Kind.UNDECLARED_LISTING)
    }
    sums = [
        f"{_SUMMED[kind].format(len(each))}, {each[0].path} the first; headstart check lists them"
        for kind, each in summed.items()
        if each
    ]
    return sums, [finding for finding in told if finding.kind not in summed]


def sentence(finding: Finding, job: str) -> str:
    """A finding in one line: what, how it is known, and what to do; `job` is what people know the job by."""
    told = _TOLD[finding.kind].replace("{job}", job).replace("{}", finding.path)
    how = f" ({finding.detail})" if finding.detail else ""
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return _one_line(f"{told}{how}{remedy}")


def _one_line(text: str) -> str:
    """Text that fits into a line whatever a file's name holds."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in unsurrogated(text))
