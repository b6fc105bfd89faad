"""Tells others that a job's early outputs are complete: by a line to a descriptor or into a fifo, and by a command that is run.

The line is the exit code that a request for the early half would have been answered with: 0 as soon as the early outputs are
in their places; the job's own when it ends before that. There is one line, always, whatever happens to the job.

Whoever has to be told never holds up the job. Opening a fifo for writing waits for its reader, and writing into a full
pipe does too: what cannot be written at once is written by a thread, and only our own end waits for that. A command has a
process group of its own; our end waits for it too, it is ended when the job is, and nothing of it survives us.

Not here: when early outputs are complete (`run`), and who brings them to their places (`standalone`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import stat
import threading

from headstart_wrapper import stragglers
from headstart_wrapper.errors import HeadstartError, RequestError
from headstart_wrapper.hints import TYPE_CHECKING, Protocol, final
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup
from headstart_wrapper.records import evolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from headstart_wrapper.job import Job, Outcome

_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end our waits."""


@final
class Announcer:
    """Tells of one job, once.

    Attributes:
        told: the early outputs are complete, and whoever wanted to know it was told, or will be.
    """

    def __init__(self, job: Job) -> None:
        self.told = False
        self._job = job
        self._recipients: list[_Recipient] = []
        self._unread: set[_Recipient] = set()
        self._command: ProcessGroup | None = None
        self._problems: list[str] = []
        self._ended_by: int | None = None
        # Never closed: a thread that still waits for a reader when we end may write to it until then.
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def check(self) -> None:
        """Sees, before anything is started, that those who are to be told can be.

        Raises:
            RequestError: one cannot.
        """
        if self._job.early_fd is not None:
            self._recipients.append(_Descriptor(self._job.early_fd))
        if self._job.early_fifo is not None:
            self._recipients.append(_Fifo(self._job.early_fifo))

    def complete(self, *, cwd: str, env: Mapping[str, str]) -> None:
        """The early outputs are in their places. Repeated, it does nothing.

        Args:
            cwd: the directory of the job, and of the command.
            env: the environment of both.
        """
        if self.told:
            return
        self.told = True
        self._tell(0)
        if self._job.on_early is not None:
            before = self._ended_by
            try:
                self._command = _started(self._job.on_early, cwd, env)
            except HeadstartError as error:
                self._problems.append(f"--on-early was not run: {error}")
                return
            if before is None and self._ended_by is not None:  # it came while the command was started
                self._command.signal(self._ended_by)

    def interrupt(self, number: int) -> None:
        """A signal has reached us (in its handler): one that ends is for the command too, and ends our waits."""
        if number not in _ENDS:
            return
        if self._ended_by is None:
            self._ended_by = number
        os.eventfd_write(self._wake, 1)
        if self._command is not None:
            self._command.signal(number)

    def hold_signals(self) -> None:
        """The job has ended, and with it what took signals until now: those that end wait until our own waits take them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)

    def _release_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)

    def finished(self, outcome: Outcome) -> Outcome:
        """Waits for all who were told, after the job's end; the outcome with what became of that.

        Args:
            outcome: of the job. When it was ended by force, so is the command.
        """
        if not self.told:
            self._release_signals()  # nothing is waited for before the line, and a statistics file may have no reader
            return outcome
        if outcome.signal is not None or outcome.timed_out:
            self._end_command(tell=True)
        all_done = self._wait()
        problems, self._problems = self._problems, []
        if not problems:
            return outcome
        if not all_done and self._ended_by is not None and not outcome.exit_code:
            return evolve(outcome, signal=self._ended_by).spoiled(128 + self._ended_by, *problems)
        return outcome.spoiled(RequestError.exit_code, *problems)

    def failed(self, exit_code: int) -> Sequence[str]:
        """The job has ended with its early outputs incomplete: tells that, waits for those who are told.

        Returns:
            What is to be said about that.
        """
        if self.told:
            return ()
        self._tell(exit_code)
        self._wait()
        return self._problems

    def _tell(self, exit_code: int) -> None:
        line = b"%d\n" % exit_code
        for recipient in self._recipients:
            try:
                if not recipient.write(line, wait=False):
                    self._unread.add(recipient)
                    threading.Thread(target=self._tell_later, args=(recipient, line), daemon=True).start()
            except OSError as error:
                self._not_told(recipient, error)

    def _tell_later(self, recipient: _Recipient, line: bytes) -> None:
        # Signals are the first thread's, which may wait for a slow reader and has to notice them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            recipient.write(line, wait=True)
        except OSError as error:
            self._not_told(recipient, error)
        self._unread.discard(recipient)
        os.eventfd_write(self._wake, 1)

    def _not_told(self, recipient: _Recipient, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):  # a reader that went away does not want to know it
            self._problems.append(
                f"{recipient.name} cannot be written: {error.strerror}; see to its other end"
            )

    def _wait(self) -> bool:
        """Waits for readers and the command; False when a signal ended that."""
        with _handling(self.interrupt):
            self._release_signals()
            while (self._unread or self._command) and self._ended_by is None:
                poll = select.poll()
                poll.register(self._wake, select.POLLIN)
                if self._command is not None:
                    poll.register(self._command.pidfd, select.POLLIN)
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                if self._command is not None and self._command.pidfd in ready:
                    self._collect()
            if self._ended_by is None or not (self._unread or self._command):
                return True
            why = signal.Signals(self._ended_by).name
            self._problems += [f"{each.name} had no reader when {why} came" for each in tuple(self._unread)]
            if self._command is not None:
                self._problems.append(f"--on-early was ended by {why}")
            self._end_command(tell=False)
            return False

    def _collect(self) -> None:
        """Takes the command's result; what it left running is ended."""
        command, self._command = self._command, None
        if command is None:
            return
        code = os.waitstatus_to_exitcode(command.reap()[0])
        if code:
            how = f"failed with exit code {code}" if code > 0 else f"was killed by signal {-code}"
            self._problems.append(f"the command of --on-early {how}; look at {self._job.on_early!r}")

    def _end_command(self, *, tell: bool) -> None:
        """Ends it as a job is ended: TERM, or the signal that came, then KILL after the grace."""
        command, self._command = self._command, None
        if command is None:
            return
        if tell:
            command.signal(signal.SIGTERM)
        command.signal(signal.SIGCONT)
        stragglers.await_exit(command.pidfd, self._job.kill_delay)
        command.reap()


class _Recipient(Protocol):
    """Somebody who is told by a line. Attributes: name, for messages."""

    name: str

    def write(self, line: bytes, *, wait: bool) -> bool:
        """Writes it; False when somebody has to be waited for, and we do not want to.

        Raises:
            OSError: it cannot be written.
        """


@final
class _Descriptor:
    """An open descriptor, which the job does not get. It is closed when it was written to."""

    def __init__(self, number: int) -> None:
        self.name = f"--early-fd={number}"
        try:
            # One that we did not open ourselves came over exec, so it cannot be close-on-exec.
            is_given = os.get_inheritable(number)
        except OSError:
            is_given = False
        if not is_given:
            raise RequestError(
                f"{self.name} is not open; open it where we are called: {self.name} {number}>FILE"
            )
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise RequestError(f"{self.name} is open for reading only; open it for writing: {number}>FILE")
        os.set_inheritable(number, False)
        self._number = number

    def write(self, line: bytes, *, wait: bool) -> bool:
        """See `_Recipient`."""
        poll = select.poll()
        poll.register(self._number, select.POLLOUT)
        if not poll.poll(None if wait else 0):
            return False
        try:
            os.write(self._number, line)
        finally:
            os.close(self._number)
        return True


@final
class _Fifo:
    """A fifo in the file system, which somebody else has made."""

    def __init__(self, path: str) -> None:
        self.name = f"--early-fifo={path}"
        try:
            is_fifo = stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - without pathlib
        except OSError as error:
            raise RequestError(
                f"{self.name} cannot be used ({error.strerror}); make it first: mkfifo {path}"
            ) from error
        if not is_fifo:
            raise RequestError(f"{self.name} is no fifo; make one in another place: mkfifo PATH")
        if not os.access(path, os.W_OK):
            raise RequestError(f"{self.name} may not be written; change its permissions: chmod u+w {path}")
        self._path = path

    def write(self, line: bytes, *, wait: bool) -> bool:
        """See `_Recipient`."""
        flags = os.O_WRONLY | os.O_CLOEXEC | (0 if wait else os.O_NONBLOCK)
        try:
            descriptor = os.open(self._path, flags)
        except OSError as error:
            if error.errno == errno.ENXIO:  # fifo(7): nobody has it open for reading
                return False
            raise
        try:
            os.write(descriptor, line)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True


def _started(command: str, cwd: str, env: Mapping[str, str]) -> ProcessGroup:
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return ProcessGroup.start(
            DirectSpawner(), ("/bin/sh", "-c", command), cwd=cwd, env=env, streams=(nothing, 1, 2)
        )
    finally:
        os.close(nothing)


@contextlib.contextmanager
def _handling(take: Callable[[int], None]) -> Iterator[None]:
    """Signals that end are taken by it; what was ignored when we were started stays ignored (nohup)."""
    with contextlib.ExitStack() as stack:
        for number in _ENDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                stack.callback(signal.signal, number, signal.signal(number, lambda came, _: take(came)))
        yield
