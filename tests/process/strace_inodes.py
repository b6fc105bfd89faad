"""Which names are of one file, as far as a trace's links and renames tell it, and which of those files are the host's."""

from __future__ import annotations

from attrs import Factory, define


def within(path: str, tree: str) -> bool:
    """A path is that of a tree, or below it."""
    return path == tree or path.startswith(f"{tree.rstrip('/')}/")


@define
class Inodes:
    """Which names are of one inode, as far as links say it, and which inodes are the host's."""

    _ids: dict[str, int] = Factory(dict)
    _hosts: dict[int, int] = Factory(dict)
    _last: int = 0

    def _id(self, path: str) -> int:
        if path not in self._ids:
            self._last += 1
            self._ids[path] = self._last
        return self._ids[path]

    def mark(self, path: str, since: int) -> None:
        """The file is the host's from that line on, whatever its names."""
        self._hosts.setdefault(self._id(path), since)

    def is_hosts(self, path: str, line: int) -> bool:
        """The file of that name is the host's."""
        return path in self._ids and line > self._hosts.get(self._ids[path], line)

    def link(self, source: str, target: str) -> None:
        self._ids[target] = self._id(source)

    def rename(self, source: str, target: str) -> None:
        """A file, or a directory with what is in it."""
        self._ids.pop(target, None)
        for path in [path for path in self._ids if within(path, source)]:
            self._ids[target + path[len(source) :]] = self._ids.pop(path)

    def unlink(self, path: str) -> None:
        self._ids.pop(path, None)
