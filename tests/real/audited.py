"""The free audit of a crate that real rustc compiled in a directory which holds its declared inputs and nothing else."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from headstart_worker.cargo.commands import Outputs
from headstart_worker.cargo.rustc_args import dep_info_paths
from headstart_worker.cargo.units import Unit
from headstart_wrapper.records import evolve
from headstart_wrapper.sandbox.audit import Audit, audit
from headstart_wrapper.sandbox.declared import Declared
from headstart_wrapper.sandbox.verdict import Kind


def assert_audited(root: Path, unit: Unit, inputs: Sequence[str], made: Outputs) -> None:
    """The crate reads and leaves what it declares (no false report); without its declaration, whatever dep-info names is told (S3)."""
    assert made.dep_info is not None
    declared = Declared(
        directory=str(root),
        inputs=tuple(str(root / path) for path in inputs),
        outputs=tuple((path, str(root / path)) for path in made.all),
        env=tuple(unit.env),
        dep_info=(str(root / made.dep_info),),
    )
    here = (str(root),)
    dep_info = (root / made.dep_info).read_text()
    # What `env!` puts into the code may be a path; dep-info has its value then.
    secret = () if str(root) in dep_info else here
    assert audit(declared, private=here, secret=secret) == Audit(), unit.name
    found = audit(evolve(declared, inputs=())).findings
    told = {finding.path for finding in found if finding.kind is Kind.UNDECLARED_READ}
    named = {posixpath.relpath(root / path, root) for path in dep_info_paths(dep_info)}
    assert told == named, unit.name
