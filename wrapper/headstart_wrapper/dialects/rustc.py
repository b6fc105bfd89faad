"""The dialect of rustc: which commands can answer early, and what has to be said to rustc so that they do.

**Which.** A command that compiles nothing but `lib`/`rlib` crate types and emits `metadata` can: its dependents need
the metadata alone. Everything else (binaries, procedural macros, dynamic libraries) is linked against object code;
such a command is answered when it ends, and nothing is added to it.

**What.** rustc tells through `--error-format=json --json=artifacts`. The presence of `--json=artifacts` changes the
crate's hash (SVH), so a command that can answer early gets it in *every* mode, asked to answer early or not: the
bytes must be the same in all of them. For the same reason the kinds in `--emit` are never touched. What the user
would have seen is put together again from the diagnostics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from headstart_wrapper.dialects.base import EarlySignal, Plan, place
from headstart_wrapper.dialects.rustc_command import Invocation, understand
from headstart_wrapper.dialects.rustc_output import PlainOutput, RustcOutput
from headstart_wrapper.dialects.rustc_places import Outputs, Staging, outputs, staged
from headstart_wrapper.errors import RequestError
from headstart_wrapper.records import Record, evolve

_LIBRARIES = frozenset({"lib", "rlib"})
_COLORS = frozenset({"auto", "always", "never"})
_HUMAN = frozenset({"human", "short"})
_METADATA_SUFFIX = ".rmeta"


class Rustc(Record):
    """rustc, and drivers with its command line (clippy-driver)."""

    name: str = "rustc"
    stages: bool = True

    def plan(
        self,
        command: Sequence[str],
        *,
        early_outputs: Sequence[str],
        pipelined: bool,
        stage: str | None,
        read: Callable[[str], str],
        directory: str = "",
        verbatim: bool = False,
        stands_for: str | None = None,
    ) -> Plan:
        """Return the plan for one rustc command; see `Dialect.plan`.

        rustc reports metadata of no bytes for crates that nobody can depend on; whoever publishes an early output
        has to take an empty one for none.

        Raises:
            RequestError: a library is to answer early with metadata that its command does not emit; or a response
                file cannot be read.
        """
        invocation = understand(command, read)
        if not invocation.compiles:
            return Plan(tuple(command), EarlySignal.NONE, directory=directory)
        library = set(invocation.crate_types) <= _LIBRARIES
        written = outputs(invocation)
        speech = _speech(invocation) if library and "metadata" in invocation.emit else None
        if verbatim and speech is not None and not speech.passes:
            speech = None
        staging = staged(invocation, stage) if stage is not None else Staging({}, (), (), (), ())
        if stands_for is not None:
            staging = _moved(staging, directory, stands_for)
        signal, note = EarlySignal.NONE, None
        if pipelined and early_outputs:
            signal, note = _signal(invocation, speech, written, early_outputs, directory)
        edits, added = staging.edits, staging.added
        stderr: Callable[[], PlainOutput | RustcOutput] | None = None
        if speech is not None:
            edits, added = {**edits, **speech.edits}, (*speech.added, *added)
        if speech is not None and (pipelined or stage is not None or not speech.passes):
            stderr = partial(
                RustcOutput,
                rendered=speech.rendered,
                artifacts=speech.artifacts,
                early={place(path, directory): path for path in early_outputs},
                spellings=staging.spellings,
                directory=directory,
            )
        elif stage is not None:
            stderr = partial(PlainOutput, staging.spellings)
        return Plan(
            command=invocation.rewritten(edits, added) if edits or added else tuple(command),
            early_signal=signal,
            inputs=_inputs(invocation),
            places=staging.places,
            directories=staging.directories,
            spellings=staging.spellings,
            stderr=stderr,
            final_metadata=written.link if library else None,
            links_safely=True,
            text_outputs=(written.dep_info,) if written.dep_info is not None else (),
            note=note,
            directory=directory,
        )


def _moved(staging: Staging, directory: str, stands_for: str) -> Staging:
    """The same in a private directory.

    A mapping of the command's own comes later and counts. Without one, only a mapping gives the same bytes everywhere: a name that was
    mapped is another thing in the metadata than the same name that was not.
    """
    return evolve(
        staging,
        added=(f"--remap-path-prefix={directory}=.", *staging.added),
        spellings=(*staging.spellings, (directory, stands_for)),
    )


class _Speech(Record):
    """What makes rustc report artifacts, and what its user is to see of that.

    Attributes:
        edits, added: what to change in the command line.
        rendered, artifacts: as in `RustcOutput`.
    """

    edits: dict[int, tuple[str, ...]]
    added: tuple[str, ...]
    rendered: bool
    artifacts: bool

    @property
    def passes(self) -> bool:
        """Its user asked for all of it, and sees it as it comes."""
        return self.artifacts and not self.rendered


def _speech(invocation: Invocation) -> _Speech | None:
    """Return how to make rustc report artifacts; None when what the user asked for can only be left as it is.

    That is a format that we cannot put together again (unstable ones), and whatever rustc refuses: then the refusal
    is rustc's to word.
    """
    formats, colors, asked = (invocation.values(name) for name in ("error-format", "color", "json"))
    if len(formats) > 1 or len(colors) > 1 or not _COLORS.issuperset(colors):
        return None
    form = formats[0] if formats else "human"
    # rustc refuses `--color` beside `--json`, where it has no meaning.
    edits: dict[int, tuple[str, ...]] = {
        index: () for index, argument in enumerate(invocation.arguments) if argument.name == "color"
    }
    if form == "json":
        if asked and colors:
            return None
        if "artifacts" in invocation.json:
            return _Speech({}, (), rendered=False, artifacts=True)
        return _Speech(edits, ("--json=artifacts",), rendered=False, artifacts=False)
    if form not in _HUMAN or asked:
        return None
    wanted = ["artifacts"]
    if form == "short":
        wanted.append("diagnostic-short")
    if "always" in colors:
        wanted.append("diagnostic-rendered-ansi")
    edits |= {
        index: () for index, argument in enumerate(invocation.arguments) if argument.name == "error-format"
    }
    return _Speech(
        edits, ("--error-format=json", f"--json={','.join(wanted)}"), rendered=True, artifacts=False
    )


def _signal(
    invocation: Invocation,
    speech: _Speech | None,
    written: Outputs,
    early_outputs: Sequence[str],
    directory: str,
) -> tuple[EarlySignal, str | None]:
    """Return how the declared early outputs announce themselves, and why not early if so."""
    library = set(invocation.crate_types) <= _LIBRARIES
    if not library:
        kinds = ", ".join(invocation.crate_types)
        return EarlySignal.NONE, f"only lib and rlib crates have metadata to answer with, this is {kinds}"
    wanted = [path for path in early_outputs if path.endswith(_METADATA_SUFFIX)]
    if "metadata" not in invocation.emit:
        # Named by the command: the two-run mode, whose early half makes an archive without object code.
        explicit = {place(path, directory) for path in (written.link, written.dep_info) if path is not None}
        if any(place(path, directory) not in explicit for path in wanted):
            raise RequestError(
                f"{wanted[0]} is to be ready early, but rustc is not told to write it: add `metadata` to --emit"
            )
        return EarlySignal.NONE, None
    if speech is None:
        return (
            EarlySignal.NONE,
            "rustc's messages are asked for in a form that leaves no room for artifact messages",
        )
    own = {place(path, directory) for path in (written.metadata, written.dep_info) if path is not None}
    if wanted or any(place(path, directory) in own for path in early_outputs):
        return EarlySignal.LINES, None
    return EarlySignal.NONE, None


def _inputs(invocation: Invocation) -> tuple[str, ...]:
    root = (invocation.input,) if invocation.input not in {None, "-"} else ()
    return tuple(path for path in (*root, *(path for _, path in invocation.externs)) if path is not None)
