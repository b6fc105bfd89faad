"""What every job may read, write and know without declaring it: three tables, each line with its reason.

DESIGN.md shows the same tables. Nothing in them may change the bytes of an output, but for what a compiler's own closure
(`toolchain`) would name anyway: anything else is for a job to declare. Paths that a machine does not have are no matter.
"""

from __future__ import annotations

from headstart_wrapper.hints import Final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

WHY_READ: Final = {
    "/etc/ld.so.cache": "the loader looks every library up in it",
    "/etc/ld.so.conf": "ld looks for the libraries of shared libraries where the loader would",
    "/etc/ld.so.conf.d": "the same, in parts",
    "/etc/ld.so.preload": "the loader asks for it",
    "/etc/alternatives": "links that say which program `cc` or `c++` is",
    "/etc/localtime": "__TIME__, and programs that write a date",
    "/usr/share/zoneinfo": "what /etc/localtime and TZ lead to",
    "/usr/lib/locale": "messages and sorting in the job's language",
    "/usr/share/locale": "the same: translations, and other names of languages",
    "/etc/locale.alias": "those other names, on Debian",
    "/usr/share/i18n": "the same: definitions of characters",
    "/usr/lib/gconv": "conversion of characters, where a library of its own does it",
    "/usr/lib64/gconv": "the same elsewhere",
    "/usr/lib/x86_64-linux-gnu/gconv": "the same elsewhere",
    "/usr/lib/aarch64-linux-gnu/gconv": "the same elsewhere",
    "/etc/terminfo": "colours for a terminal",
    "/lib/terminfo": "the same elsewhere",
    "/usr/share/terminfo": "the same elsewhere",
    "/etc/passwd": "shells and Python look up whose process it is, and where ~ is when HOME is not set",
    "/etc/group": "the same for groups",
    "/etc/nsswitch.conf": "says that /etc/passwd is the file to look into",
    "/etc/os-release": "clang asks which distribution it runs on, to find libraries",
    "/usr/lib/os-release": "what /etc/os-release leads to",
    "/etc/lsb-release": "the same for older distributions",
    "/etc/debian_version": "the same for Debian",
    "/etc/redhat-release": "the same for Red Hat",
    "/proc": "rustc asks for its own maps, statm and cgroup, malloc for overcommit_memory; a rule cannot name a process to "
    "come, and what is secret of processes outside (environment, memory) Landlock keeps closed",
    "/sys/kernel/mm/transparent_hugepage": "rustc's jemalloc asks for it at its start",
    "/sys/fs/cgroup": "Rust programs ask how many processors they may use",
    "/sys/devices/system/cpu": "programs ask how many processors there are",
    "/dev/null": "no input",
    "/dev/zero": "memory, for older programs",
    "/dev/full": "a full disk, for tests",
    "/dev/random": "random numbers: names of temporary files, hash tables",
    "/dev/urandom": "the same",
    "/dev/tty": "the terminal, which shells and password prompts open by name",
    "/dev/fd": "links to a process's own descriptors; /dev/stdin, /dev/stdout and /dev/stderr likewise",
}
"""A directory stands for everything below it."""

READ: Final = tuple(WHY_READ)

WHY_WRITE: Final = {
    "/dev/null": "output that nobody wants",
    "/dev/zero": "the same",
    "/dev/full": "a full disk, for tests",
    "/dev/tty": "what a person is to see in any case",
}

WRITE: Final = tuple(WHY_WRITE)

PROGRAMS: Final = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
"""Where a program that we do not know may find what it starts; only such a job may read it all."""

LIBRARIES: Final = (
    *("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32"),
    *("/usr/libexec", "/usr/local/lib", "/usr/local/libexec", "/usr/share", "/usr/local/share"),
    *("/usr/include", "/usr/local/include"),
)
"""What those read: such a program may well be a script that compiles."""

WHY_KEPT: Final = {
    "PATH": "the programs that the tool starts are found by it; reading them is held by the rules all the same",
    "HOME": "rustup finds its toolchains by it, and many programs end without it; what is in there stays closed",
    "RUSTUP_HOME": "rustup's proxies find the toolchain by it",
    "RUSTUP_TOOLCHAIN": "says which one they start, and the tool's closure was found with it",
    "CARGO_HOME": "where those proxies are",
    "LD_LIBRARY_PATH": "a tool that lives outside of the system does not start without it; its libraries were found with it",
    "PWD": "gcc writes it into debugging information where it names the job's directory: equal bytes need it",
    "TMPDIR": "where temporary files go: the job's own directory for them",
    "LANG": "language and characters of messages",
    "LANGUAGE": "the same",
    "TZ": "the time zone of dates that are written",
    "SOURCE_DATE_EPOCH": "the time that reproducible builds write instead of now",
    "TERM": "whether the terminal has colours",
    "NO_COLOR": "whether somebody wants them",
    "MAKEFLAGS": "the jobserver: a compiler that does not see it takes every processor",
    "CARGO_MAKEFLAGS": "the same for rustc",
    "HEADSTART_JOB": "our tag, by which a job's processes are found and killed",
}
"""Variables that a job under enforce inherits undeclared; LC_* for LANG's reason; and what Cargo declares (`is_of_cargo`)."""

KEPT: Final = tuple(WHY_KEPT)

KEPT_BEGINNING: Final = "LC_"


def is_of_cargo(name: str) -> bool:
    """True for what Cargo says to the compiler of a package, about that package: `env!` asks for it, and no rule could declare it."""
    return name.startswith("CARGO_") or name in {"CARGO", "OUT_DIR"}


def environment(env: Mapping[str, str], declared: Collection[str]) -> dict[str, str]:
    """What is left of a job's environment when nothing undeclared may reach it.

    Left out is, above all, what changes a compiler's bytes behind a declaration's back: CPATH and its kind, LIBRARY_PATH,
    COMPILER_PATH, GCC_EXEC_PREFIX, LD_PRELOAD, RUSTC_BOOTSTRAP, everything that `env!` might ask for. A request that wants
    one of them says so with `--env`.

    Args:
        env: the whole of it.
        declared: the names that the request sets.
    """
    kept = {*KEPT, *declared}
    return {
        name: value
        for name, value in env.items()
        if name in kept or name.startswith(KEPT_BEGINNING) or is_of_cargo(name)
    }
