"""Substitution in a job's command and variables."""

from __future__ import annotations

from attrs import evolve

from headstart_wrapper.job import Job, Phase


def test_keys_are_replaced_wherever_they_stand() -> None:
    job = Job(
        command=("${tool}", "--a=${dir}/x:${dir}", "${other}", "$dir", "${dir"),
        env=(("${dir}", "${dir}/bin"), ("B", "plain")),
        substitutions=(("dir", "${pwd}"), ("tool", "cc")),
        outputs=("${dir}/o",),
    )
    done = job.substituted("/job")
    assert done.command == ("cc", "--a=/job/x:/job", "${other}", "$dir", "${dir")
    assert done.env == (("${dir}", "/job/bin"), ("B", "plain"))
    assert done.outputs == ("${dir}/o",)
    assert done.substitutions == ()


def test_pwd_is_a_value_and_no_key() -> None:
    assert Job(command=("${pwd}",), substitutions=(("x", "1"),)).substituted("/job").command == ("${pwd}",)
    assert Job(command=("${x}",), substitutions=(("x", "a${pwd}"),)).substituted("/job").command == (
        "a${pwd}",
    )


def test_without_substitutions_a_job_is_itself() -> None:
    job = Job(command=("${x}",))
    assert job.substituted("/job") is job


def test_each_half_wants_its_own_outputs() -> None:
    job = Job(early_outputs=("e",), outputs=("o",))
    assert job.wanted == ("o",)
    assert evolve(job, phase=Phase.EARLY).wanted == ("e",)
    assert evolve(job, phase=Phase.FULL).wanted == ("o",)
