"""What a job says of itself."""

from __future__ import annotations

import pytest

from headstart_wrapper.job import Job, Phase
from headstart_wrapper.records import evolve


def test_each_half_wants_its_own_outputs() -> None:
    job = Job(early_outputs=("e",), outputs=("o",))
    assert job.wanted == ("o",)
    assert evolve(job, phase=Phase.EARLY).wanted == ("e",)
    assert evolve(job, phase=Phase.FULL).wanted == ("o",)


@pytest.mark.parametrize(
    "said",
    [
        {"substitutions": (("a", "b"),)},
        {"env_files": ("f",)},
        {"arg_files": ("f",)},
        {"stable_status_file": "f"},
        {"volatile_status_file": "f"},
        {"out_dir": "d"},
        {"explicit_features": True},
    ],
)
def test_what_files_and_keys_add_is_still_to_come(said: dict[str, object]) -> None:
    assert Job(command=("cc",), env=(("A", "1"),), stdout="o").is_settled
    assert not evolve(Job(command=("cc",)), **said).is_settled
