"""Signals and the terminal, for a wrapper that stays beside its job: what a shell does for its jobs, for one job.

Why there is something to do, and how little
--------------------------------------------
The job has a process group of its own, so that it can be ended as a whole. To a terminal that is a *background* group:
what is typed (^C, ^Z) and told (a new size) reaches our group, and a process of the job that reads the terminal, or sets
its modes, is stopped by the kernel (TTIN, TTOU). A caller must see none of this:

-   A signal that reaches us is sent on to the job's group at once, from the handler: a wrapper that waits for a slow reader
    of its output still ends its job. What was ignored when we were started stays ignored (nohup).
-   The terminal stays with our group until the job needs it, so a pipeline (`process-wrapper ... | less`) is not robbed of
    it. When the leader is stopped because it wants the terminal, and our group has it, the job's group gets it and goes on:
    from then on the kernel tells the job directly. If our group does not have it, we stop as a job in the background does.
-   We are stopped when the leader is, and only then. A leader that ignores ^Z goes on, as it would without us (sudo
    decides the same; `timeout` stops although its command goes on). What continues us continues the job.
-   At the end the terminal is with our group again. Its modes are the job's business, unless the job was killed while it had
    the terminal: then they are what they were when it got it, because a killed pager cannot clean up.

A leader that *ignores* TTIN and reads the terminal gets an error from the kernel, and a stop of a process that is not the
leader is not told to us: both want a terminal of their own (`script`), or no wrapper that stays.

Decisions are made from what is true now (is the leader stopped, by what; who has the terminal), never from counted
events: signals merge. Without a terminal of our own all of this is forwarding. Not here: who ends the job (`supervise`),
and how its processes are signalled (`process_group`).
"""

from __future__ import annotations

import contextlib
import os
import signal

from headstart_wrapper.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from headstart_wrapper.process_group import ProcessGroup

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGWINCH,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_WANTS_TERMINAL = (signal.SIGTTIN, signal.SIGTTOU)
_TYPED_ENDS = (signal.SIGINT, signal.SIGQUIT)
"""What ^C and ^\\ send to everybody in the foreground."""

_CHUNK = 512
"""Signals that are taken note of at once; more of them wake us again."""


@final
class JobControl:
    """Takes this process's signals while it is entered; `attend` does what a change of the job calls for.

    Attributes:
        descriptor: readable when a signal came, SIGCHLD included. The kernel's own handler writes it, so a signal that
            comes in the last instant before a wait ends that wait.
    """

    def __init__(self, collect: Callable[[], None], told: Callable[[int], None] | None = None) -> None:
        """Takes nothing yet.

        Args:
            collect: is called when a child has changed.
            told: is told of each signal that is sent on, in the handler.
        """
        self._collect = collect
        self.descriptor = -1
        self._told = told
        self._group: ProcessGroup | None = None
        self._holds_back = True
        self._held_back: list[int] = []
        self._asked = False
        self._given = False
        self._hung_up = False
        self._modes: list[Any] | None = None
        self._told_of_output = signal.getsignal(signal.SIGTTOU)

    def __enter__(self) -> None:
        with contextlib.ExitStack() as stack:
            self.descriptor, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, self.descriptor)
            stack.callback(os.close, writer)
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
            for number in FORWARDED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    stack.callback(signal.signal, number, signal.signal(number, self._take))
            stack.callback(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, _wake_up))
            stack.callback(signal.signal, signal.SIGTTOU, self._told_of_output)
            self._restore = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def started(self, group: ProcessGroup) -> None:
        """The job runs: it gets what came before."""
        self._group = group
        self._let_pass()

    def _let_pass(self) -> None:
        self._holds_back = False
        while self._held_back:
            self._forward(self._held_back.pop(0))

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._told is not None:
            self._told(number)
        self._forward(number)

    def _forward(self, number: int) -> None:
        if self._holds_back:
            self._held_back.append(number)
        elif self._group is not None:
            with contextlib.suppress(ValueError):  # it was reaped this very moment
                self._group.signal(number)

    def attend(self) -> None:
        """Looks at the job after a signal; returns when we are continued, if that stopped us."""
        # A ^Z right after we were continued has to come after our own CONT, which would undo it.
        self._holds_back = True
        try:
            self._look()
        finally:
            self._let_pass()

    def _look(self) -> None:
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self.descriptor, _CHUNK)
            for came in numbers:
                if came in {signal.SIGTSTP, signal.SIGCONT}:
                    self._asked = came == signal.SIGTSTP
            if signal.SIGCHLD in numbers:
                self._collect()
        if self._group is None or (number := self._group.stopped_by()) is None:
            return
        if number in _WANTS_TERMINAL:
            self._lend_terminal(self._group, number)
        elif self._asked or self._given or (number == signal.SIGTSTP and _foreground() is not None):
            self._stop_with_job(self._group, number)

    def _lend_terminal(self, group: ProcessGroup, number: int) -> None:
        holder = _foreground()
        if holder is None:
            return  # not a terminal's doing: somebody sent the signal, and has to continue the job
        if holder == os.getpgrp():
            self._give(group)
        elif holder != group.pid and not _stop(0, number):
            # Nobody is left who could bring us to the foreground (an orphaned group): the kernel hangs up on such a job.
            if self._hung_up:
                return
            self._hung_up = True
            group.signal(signal.SIGHUP)
        group.signal(signal.SIGCONT)

    def _stop_with_job(self, group: ProcessGroup, number: int) -> None:
        asked, self._asked = self._asked, False
        had_terminal = self._given and _foreground() == group.pid
        if had_terminal:
            self._take_back()
        # When we were asked, whoever asked has told the rest of our group. When the job was, we have to.
        if not _stop(os.getpid() if asked else 0, number) and asked and _foreground() != os.getpgrp():
            # Nobody's ^Z in an orphaned group, which nobody could continue, but a caller's wish.
            _stop(os.getpid(), signal.SIGSTOP)
        if had_terminal and _foreground() == os.getpgrp():
            self._give(group)
        group.signal(signal.SIGCONT)

    def _give(self, group: ProcessGroup) -> None:
        if self._modes is None:
            self._modes = _modes()
        self._given = True
        # While the job has the terminal, neither our own messages (stty tostop) nor taking it back must stop us.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        _set_foreground(group.pid)

    def _take_back(self) -> None:
        self._given = False
        _set_foreground(os.getpgrp())
        signal.signal(signal.SIGTTOU, self._told_of_output)

    def ended(self, *, died_of: int | None, killed: bool) -> None:
        """The job is over, its leader reaped: the terminal is ours again, if the job had it.

        Args:
            died_of: the signal that the leader died of.
            killed: it died of a signal, or because we ended it.
        """
        group, self._group = self._group, None
        if not self._given or group is None:
            return
        holder = _foreground()
        # A shell in the job gives its own jobs groups of their own, and can be killed while one of them has the terminal.
        if holder is not None and (holder == group.pid or _is_empty(holder)):
            self._take_back()
            if killed and self._modes is not None:
                _set_modes(self._modes)
            if died_of in _TYPED_ENDS:
                # What was typed has reached the job only; a script that we are a part of has to hear of it too.
                os.kill(0, died_of)


def _wake_up(_number: int, _frame: FrameType | None) -> None:
    """That the handler is called is enough: `descriptor` is readable then."""


def _stop(target: int, number: int) -> bool:
    """Stops us (0: our whole group) as that signal does whom it is not handled by.

    Returns:
        True when we were continued; False when we were not stopped at all: the kernel stops no orphaned group.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
    before = None if number == signal.SIGSTOP else signal.signal(number, signal.SIG_DFL)
    os.kill(target, number)
    continued = signal.sigtimedwait({signal.SIGCONT}, 0) is not None
    if before is not None:
        signal.signal(number, before)  # until now, another such signal has stopped us again, as it should
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return continued


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _foreground() -> int | None:
    """The group that has our terminal; None without one."""
    with contextlib.suppress(OSError), _terminal() as descriptor:
        return os.tcgetpgrp(descriptor)
    return None


def _set_foreground(group: int) -> None:
    with contextlib.suppress(OSError), _terminal() as descriptor:  # it was hung up: nobody has it
        os.tcsetpgrp(descriptor, group)


def _modes() -> list[Any] | None:
    import termios  # noqa: PLC0415 - few jobs read a terminal

    with contextlib.suppress(OSError, termios.error), _terminal() as descriptor:
        return termios.tcgetattr(descriptor)
    return None


def _set_modes(modes: list[Any]) -> None:
    import termios  # noqa: PLC0415 - as above

    with contextlib.suppress(OSError, termios.error), _terminal() as descriptor:
        # Now, not when its output is drained: a terminal that is held (^S) would hold us.
        termios.tcsetattr(descriptor, termios.TCSANOW, modes)


def _is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
