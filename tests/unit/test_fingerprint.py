"""What makes two jobs equal, and what does not make them different."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from headstart_wrapper.fingerprint import encode, fingerprint, relevant_inputs

# Short words over few characters, so that bytes that move from one field to the next have a chance to collide.
WORDS = st.text("ab=\0", max_size=3)
BYTES = st.binary(max_size=3)
JOBS = st.fixed_dictionaries(
    {
        "compiler": BYTES,
        "command": st.lists(WORDS, max_size=3),
        "env": st.dictionaries(WORDS, WORDS, max_size=3).map(lambda d: list(d.items())),
        "inputs": st.dictionaries(WORDS, BYTES, max_size=3).map(lambda d: list(d.items())),
    }
)


def normal(job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "env": sorted(job["env"]), "inputs": sorted(job["inputs"])}


@given(JOBS, JOBS)
def test_I7_two_jobs_have_one_encoding_exactly_when_they_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (encode(**one) == encode(**other)) == (normal(one) == normal(other))


@given(JOBS, st.sampled_from(["compiler", "command", "env", "inputs"]), st.data())
def test_I7_any_single_change_changes_it(job: dict[str, Any], part: str, data: st.DataObject) -> None:
    other = {**job, part: data.draw(JOBS)[part]}
    assume(normal(other) != normal(job))
    assert fingerprint(**job) != fingerprint(**other)


@given(JOBS, st.randoms(use_true_random=False))
def test_the_order_of_variables_and_inputs_does_not_count(job: dict[str, Any], random: Any) -> None:
    other = {**job, "env": list(job["env"]), "inputs": list(job["inputs"])}
    random.shuffle(other["env"])
    random.shuffle(other["inputs"])
    assert fingerprint(**job) == fingerprint(**other)


def test_I7_what_has_to_be_complete_for_the_early_half_counts() -> None:
    base: dict[str, Any] = {"compiler": b"cc", "command": ["cc"], "env": [], "inputs": []}
    names = {fingerprint(early_outputs=early, **base) for early in ([], ["a"], ["b"], ["a", "b"])}
    assert len(names) == 4
    assert fingerprint(early_outputs=["b", "./a"], **base) == fingerprint(early_outputs=["a", "b"], **base)


def test_I7_of_two_values_of_a_variable_the_later_counts() -> None:
    base: dict[str, Any] = {"compiler": b"cc", "command": ["cc"], "inputs": []}
    twice = fingerprint(env=[("A", "1"), ("A", "2")], **base)
    assert twice != fingerprint(env=[("A", "2"), ("A", "1")], **base)
    assert twice == fingerprint(env=[("A", "2")], **base)


def test_I7_how_the_command_is_understood_counts() -> None:
    base: dict[str, Any] = {"compiler": b"cc", "command": ["cc"], "env": [], "inputs": []}
    assert len({fingerprint(dialect=name, **base) for name in ("", "generic", "rustc")}) == 3


def test_I7_an_input_that_is_given_twice_counts_twice() -> None:
    base: dict[str, Any] = {"compiler": b"cc", "command": ["cc"], "env": []}
    digests = ([b"1"], [b"2"], [b"1", b"2"], [b"1", b"1"])
    assert len({fingerprint(inputs=[("x", digest) for digest in some], **base) for some in digests}) == 4


def test_I7_the_order_of_words_counts() -> None:
    base: dict[str, Any] = {"compiler": b"cc", "env": [], "inputs": []}
    assert fingerprint(command=["a", "b"], **base) != fingerprint(command=["b", "a"], **base)


def test_I7_bytes_do_not_move_between_fields() -> None:
    whole: list[dict[str, Any]] = [
        {"compiler": b"ab", "command": ["c"], "env": [], "inputs": []},
        {"compiler": b"a", "command": ["bc"], "env": [], "inputs": []},
        {"compiler": b"a", "command": ["b", "c"], "env": [], "inputs": []},
        {"compiler": b"a", "command": ["b"], "env": [("c", "")], "inputs": []},
        {"compiler": b"a", "command": ["b"], "env": [("", "c")], "inputs": []},
        {"compiler": b"a", "command": ["b"], "env": [], "inputs": [("c", b"")]},
        {"compiler": b"a", "command": ["b"], "env": [], "inputs": [("", b"c")]},
        {"compiler": b"a", "command": ["b", "", "c"], "env": [], "inputs": []},
    ]
    assert len({fingerprint(**job) for job in whole}) == len(whole)


def test_words_that_are_no_text_have_a_fingerprint() -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    base: dict[str, Any] = {"compiler": b"cc", "env": [(odd, odd)], "inputs": [(odd, b"")]}
    assert fingerprint(command=[odd], **base) != fingerprint(command=["caf"], **base)


def relevant(*inputs: str, declared: tuple[str, ...] = (), early: tuple[str, ...] = ()) -> list[str]:
    return relevant_inputs(inputs, declared=declared, early_outputs=early, worker_files=("tools/worker",))


def test_what_the_two_halves_do_not_share_is_left_out() -> None:
    halves = ("out/a.rmeta", "out/a.rlib")
    early = relevant("src.rs", "out/a.rmeta-0.params", declared=halves[:1], early=halves[:1])
    full = relevant("src.rs", "out/a.rlib-12.params", "./out/a.rmeta", declared=halves, early=halves[:1])
    assert early == full == ["src.rs"]


def test_I7_a_source_that_looks_like_a_params_file_stays() -> None:
    kept = ["x.params", "x-1.params", "out/b.rlib-0.params", "out/a.rlib-x.params", "out/a.rlib.params"]
    assert relevant(*kept, declared=("out/a.rlib",)) == kept


def test_I7_a_params_file_that_the_command_is_given_stays() -> None:
    for word in ("@out/a.rlib-0.params", "--arg-file=out/a.rlib-0.params"):
        for path in ("out/a.rlib-0.params", "./out/a.rlib-0.params"):
            kept = relevant_inputs(
                [path, "out/a.rlib-1.params"],
                declared=["out/a.rlib"],
                early_outputs=(),
                worker_files=(),
                command=["rustc", word],
            )
            assert kept == [path]


def test_I7_a_dependencys_early_output_stays() -> None:
    assert relevant("out/b.rmeta", declared=("out/a.rmeta",), early=("out/a.rmeta",)) == ["out/b.rmeta"]


def test_the_workers_own_files_are_left_out_and_their_neighbours_are_not() -> None:
    inputs = ("tools/worker/main.py", "./tools/worker/lib/x", "tools/worker2/x", "tools/worker.py")
    assert relevant(*inputs) == ["tools/worker2/x", "tools/worker.py"]
    assert relevant_inputs(inputs, declared=(), early_outputs=(), worker_files=()) == list(inputs)
