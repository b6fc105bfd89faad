"""A directory of the worker's own in which one job's compiler runs: hard links to its declared inputs, and nothing else.

A host takes a request's sandbox back with the answer, and the early answer comes while the compiler still runs. Some compilers read late
(a native library goes into the archive at the end), and every one has its working directory there. So a compiler that outlives an answer runs
here instead, and nothing of it names the sandbox afterwards (I8).

Linking is the price of sandboxes, so what is there already is used again: a request whose host says that an input's digest is the same
finds it linked. What really is in the directory is looked at each time, names and what `lstat` tells of each: somebody who cleans up
temporary files, or a compiler that wrote into its inputs or beside them, costs time and not correctness (I13). Inode numbers alone would not
do: ext4 gives the number of what was removed to what is made next. No link in there is ever followed, so nothing outside is removed.

Links are safe because build tools replace a file and do not write into it; a file that is the sandbox's alone, which its host
could write into, is copied. Not here: which job has which directory (`roots`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, final

from attrs import frozen

from headstart_worker.directories import Look, listing_of, look_of, opened, remove
from headstart_worker.messages import Input
from headstart_wrapper import outputs

Content = bytes | tuple[int, ...]
"""What tells one content from another: the host's digest, or a file's identity, size and time where it gives none."""

_TREE: Final[Content] = (-1,)
"""The content of an input that is a directory: equal to no digest, so that it is made anew each time."""

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@frozen
class Staged:
    """What one staging did, in files. Attributes: linked, copied, kept from before, removed."""

    linked: int = 0
    copied: int = 0
    kept: int = 0
    removed: int = 0


@final
class PrivateRoot:
    """One such directory. Used by one job at a time, from any thread.

    Attributes:
        path: absolute; the same for every job of the same outputs, as long as the worker lives.
    """

    def __init__(self, path: str) -> None:
        """Nothing is made yet; what may be there already is not trusted."""
        self.path = path
        self._contents: dict[str, Content] = {}
        """By input; what is below an input that is a directory comes and goes with it."""
        self._listings: dict[str, dict[str, Look]] = {}
        """By directory, as it was left: what is in it, by name. Empty: nothing is known of what is there."""
        self._with_copies: set[str] = set()
        """Directories with files that are not links to others."""
        self._look: Look = ()
        self._linked = self._copied = 0

    def __len__(self) -> int:
        """Inputs in it."""
        return len(self._contents)

    def stage(self, source: str, inputs: Iterable[Input]) -> Staged:
        """Makes it hold exactly the inputs.

        Args:
            source: the request's sandbox, absolute; relative inputs are in there. Absolute ones are read where they are.
            inputs: what the job may read, its own outputs left out.

        Raises:
            OSError: it cannot be made; it is made from nothing the next time.
        """
        with opened(source) as there:
            wanted = dict(_contents(inputs, self._contents, there))
            # What is wrong with a directory that somebody may have been at is not to be told from here.
            with contextlib.suppress(OSError):
                if self._listings and look_of(os.lstat(self.path)) == self._look:
                    return self._renew(wanted, source, there)
            self._clear()
            try:
                return self._renew(wanted, source, there)
            except BaseException:
                self._listings.clear()
                raise

    def _renew(self, wanted: Mapping[str, Content], source: str, there: int) -> Staged:
        self._linked = self._copied = 0
        before = len(self._contents)
        changed = self._tidy("")
        changed |= self._drop(
            [path for path, content in self._contents.items() if wanted.get(path) != content]
        )
        kept = len(self._contents)
        if missing := sorted(wanted.keys() - self._contents.keys()):
            with opened(self.path) as here:
                self._bring_all(missing, wanted, source, there, here)
        if missing or changed:
            self._listings.clear()
            self._note_listings("")
        return Staged(self._linked, self._copied, kept, before - kept)

    def _clear(self) -> None:
        self._listings.clear()
        self._contents.clear()
        self._with_copies.clear()
        with contextlib.suppress(FileNotFoundError):
            remove(self.path)
        os.makedirs(self.path)  # noqa: PTH103 - hot path
        self._look = look_of(os.lstat(self.path))
        self._listings[""] = {}

    def _tidy(self, directory: str) -> bool:
        """Removes what is not as it was left, and forgets what is not there any more; True when there was such a thing."""
        there = posixpath.join(self.path, directory)
        left = self._listings[directory]
        found = self._listing(directory)
        changed = found != left
        if changed:
            for name, _ in found.items() - left.items():
                remove(posixpath.join(there, name))
                del found[name]
            for name in left.keys() - found.keys():
                self._forget(posixpath.join(directory, name))
                self._prune(posixpath.join(directory, name))
        for name, look in left.items():
            if stat.S_ISDIR(look[0]) and name in found:
                changed |= self._tidy(posixpath.join(directory, name))
        return changed

    def _forget(self, path: str) -> None:
        """Something is not there any more."""
        if self._contents.pop(path, None) is None:
            inside = f"{path}/"
            for known in [known for known in self._contents if known.startswith(inside)]:
                del self._contents[known]

    def _drop(self, paths: list[str]) -> bool:
        """Removes inputs, and directories that held nothing else; True when there were any."""
        for path in paths:
            del self._contents[path]
            remove(posixpath.join(self.path, path))
            self._prune(path)
        return bool(paths)

    def _prune(self, path: str) -> None:
        with contextlib.suppress(OSError):
            while path := posixpath.dirname(path):
                os.rmdir(posixpath.join(self.path, path))  # noqa: PTH106 - hot path

    def _listing(self, directory: str) -> dict[str, Look]:
        return listing_of(posixpath.join(self.path, directory), of_links=directory not in self._with_copies)

    def _note_listings(self, directory: str) -> None:
        self._listings[directory] = listing = self._listing(directory)
        for name, look in listing.items():
            if stat.S_ISDIR(look[0]):
                self._note_listings(posixpath.join(directory, name))

    def _bring_all(
        self, paths: Iterable[str], wanted: Mapping[str, Content], source: str, there: int, here: int
    ) -> None:
        directory, trees = "", tuple[str, ...]()
        for path in paths:
            if path.startswith(trees):
                continue
            if (above := posixpath.dirname(path)) != directory:
                try:
                    os.makedirs(posixpath.join(self.path, above), exist_ok=True)  # noqa: PTH103 - hot path
                except (FileExistsError, NotADirectoryError):
                    continue  # an input is a file where this one would have a directory
                directory = above
            brought = self._bring(path, wanted[path], source, there, here)
            if brought is None:
                self._prune(path)
                directory = ""
                continue
            self._contents[path] = brought
            if brought is _TREE:
                trees = (*trees, f"{path}/")

    def _bring(self, path: str, content: Content, source: str, there: int, here: int) -> Content | None:
        """Brings one input; returns what it holds then, None for one that is not there, which the compiler is to miss."""
        if _is_for_ever(path, source, there):
            # If not: it is not there, or a directory; another file system, no links left, not ours to link.
            with contextlib.suppress(OSError):
                os.link(path, path, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=True)
                self._linked += 1
                return content
        try:
            mode = os.stat(path, dir_fd=there).st_mode
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            return self._bring_loose_end(path, content, source, there, here)
        if stat.S_ISDIR(mode):
            self._forget(path)
            with contextlib.suppress(FileNotFoundError):
                remove(posixpath.join(self.path, path))
            self._bring_tree(path, source, there, here)
            return _TREE
        if not stat.S_ISREG(mode):  # to be opened by the compiler alone: it may be a fifo
            self._bring_link(path, os.path.realpath(posixpath.join(source, path)), source, here)
            return content
        outputs.copy(posixpath.join(source, path), posixpath.join(self.path, path))
        self._with_copies.add(posixpath.dirname(path))
        self._copied += 1
        return content

    def _bring_loose_end(
        self, path: str, content: Content, source: str, there: int, here: int
    ) -> Content | None:
        """A link to nowhere may be an input."""
        try:
            target = os.readlink(path, dir_fd=there)
        except OSError:
            return None
        self._bring_link(path, target, source, here)
        return content

    def _bring_link(self, path: str, target: str, source: str, here: int) -> None:
        """A link that says the same, and is not followed into the sandbox, which will be another action's (I8)."""
        for sandbox in (source, os.path.realpath(source)):
            if target.startswith(f"{sandbox}/"):
                target = posixpath.relpath(target, posixpath.join(sandbox, posixpath.dirname(path)))
        os.symlink(target, path, dir_fd=here)
        self._linked += 1

    def _bring_tree(self, path: str, source: str, there: int, here: int) -> None:
        """A directory among the inputs: all that is in it; links in it stay links when they lead to directories."""
        os.mkdir(path, dir_fd=here)
        with opened(path, there) as tree, os.scandir(tree) as entries:
            for entry in entries:
                inside = posixpath.join(path, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    self._bring_tree(inside, source, there, here)
                elif entry.is_symlink() and _leads_to_a_directory(entry):
                    self._bring_link(inside, os.path.realpath(posixpath.join(source, inside)), source, here)
                else:
                    self._bring(inside, _TREE, source, there, here)


def _contents(inputs: Iterable[Input], known: Collection[str], there: int) -> Iterator[tuple[str, Content]]:
    for item in inputs:
        if item.path in known:  # and normal, then, as nearly all are
            yield item.path, item.digest or _content_of(item.path, there)
            continue
        path = posixpath.normpath(item.path)
        if not path.startswith(("/", "../")) and path not in {".", ".."} and _can_be_a_name(path):
            yield path, item.digest or _content_of(path, there)


def _leads_to_a_directory(link: os.DirEntry[str]) -> bool:
    try:
        return link.is_dir()
    except OSError:  # it leads to itself
        return False


def _can_be_a_name(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _content_of(path: str, there: int) -> Content:
    try:
        status = os.stat(path, dir_fd=there)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_for_ever(path: str, source: str, there: int) -> bool:
    """True for what its host does not write into: what is reached through a link out of the sandbox, or has a name elsewhere."""
    try:
        target = os.readlink(path, dir_fd=there)
    except OSError:  # a file, or nothing
        target = ""
    if target.startswith("/") and not target.startswith(source):
        return True
    try:
        status = os.stat(path, dir_fd=there)
    except OSError:
        return False
    if not target and (status.st_nlink > 1 or not stat.S_ISREG(status.st_mode)):
        return True
    return not os.path.realpath(posixpath.join(source, path)).startswith(os.path.realpath(source) + "/")
