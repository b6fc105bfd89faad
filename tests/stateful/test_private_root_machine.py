"""Any inputs after any others, with any damage in between: a private root holds exactly the inputs, and no source is changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from headstart_worker.messages import Input
from headstart_worker.private_root import PrivateRoot

PATHS = ("a", "a/b", "c", "d/x", "d/y", "d/e/z", "f g\n")
TREES = ("d", "d/e")
KINDS = ("symlink", "hardlink", "copy", "parent")
Tree = dict[str, str | None]


def tree(directory: Path) -> Tree:
    """All that is in it; what links lead to counts as being there, as it does for a compiler."""
    made: Tree = {}
    for path in directory.rglob("*"):
        made[str(path.relative_to(directory))] = path.read_text() if path.is_file() else None
    return made


def wanted_tree(files: Tree) -> Tree:
    """These files and the directories that they are in."""
    above = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    return {**dict.fromkeys(above), **files}


def bring(kind: str, source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "hardlink" if source.is_dir():
            shutil.copytree(source, place, copy_function=os.link)
        case "hardlink":
            place.hardlink_to(source)
        case "copy" if source.is_dir():
            shutil.copytree(source, place)
        case "copy":
            shutil.copy(source, place)
        case _:
            place.symlink_to(source)


def is_directory(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


class PrivateRootMachine(RuleBasedStateMachine):
    """The sources are files that are made anew and never written into, as build tools do."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.root, self.own = self.directory / "execroot", self.directory / "own"
        self.precious = self.directory / "precious"
        self.root.mkdir()
        self.precious.mkdir()
        (self.precious / "x").write_text("precious")
        self.private = PrivateRoot(str(self.own))
        self.texts: dict[str, str] = {}
        self.sandboxes = 0

    @initialize()
    def begin(self) -> None:
        for path in ("a", "d/x", "d/y", "d/e/z"):
            self.write_a_source(path, "one")

    @rule(path=st.sampled_from(PATHS), text=st.sampled_from(["one", "two", "three longer"]))
    def write_a_source(self, path: str, text: str) -> None:
        inside, place = f"{path}/", self.root / path
        for other in [
            other for other in self.texts if other.startswith(inside) or path.startswith(f"{other}/")
        ]:
            (self.root / other).unlink()
            del self.texts[other]
        if place.is_dir():
            shutil.rmtree(place)
        for parent in list(place.parents)[::-1]:
            if parent.is_file():
                parent.unlink()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_text(text)
        self.texts[path] = text

    @rule(
        paths=st.sets(st.sampled_from(PATHS)),
        trees=st.sets(st.sampled_from(TREES)),
        kind=st.sampled_from(KINDS),
        digests=st.booleans(),
    )
    def stage(self, paths: set[str], trees: set[str], kind: str, digests: bool) -> None:
        trees = {path for path in trees if (self.root / path).is_dir()}
        files = {
            path: text
            for path, text in self.texts.items()
            if path in paths or any(path.startswith(f"{tree}/") for tree in trees)
        }
        sandbox = self._sandbox(files, trees, kind)
        inputs = [Input(path, self._digest(path) if digests else b"") for path in sorted(paths, reverse=True)]
        inputs += [Input(path, b"tree" if digests else b"") for path in sorted(trees)]
        self.private.stage(str(sandbox), inputs)
        shutil.rmtree(sandbox)
        assert tree(self.own) == {**dict.fromkeys(trees), **wanted_tree(dict(files))}
        assert {path: text for path, text in tree(self.root).items() if text is not None} == self.texts
        assert tree(self.precious) == {"x": "precious"}

    def _sandbox(self, files: dict[str, str], trees: set[str], kind: str) -> Path:
        self.sandboxes += 1
        sandbox = self.directory / f"sandbox-{self.sandboxes}"
        sandbox.mkdir()
        whole = sorted(trees)
        if kind == "parent":  # directories that are links: everything in them is there, declared or not
            whole = sorted({*trees, *({"d"} if any(path.startswith("d/") for path in files) else ())})
        for path in [*whole, *files]:
            if not any((sandbox / parent).is_dir() for parent in self._whole_above(path, whole)):
                bring(kind, self.root / path, sandbox / path)
        return sandbox

    def _whole_above(self, path: str, whole: list[str]) -> list[str]:
        return [tree for tree in whole if path.startswith(f"{tree}/")]

    def _digest(self, path: str) -> bytes:
        return hashlib.sha256(self.texts.get(path, "missing").encode()).digest()

    @rule(
        data=st.data(), how=st.sampled_from(["remove", "file", "directory", "link", "write", "more", "close"])
    )
    def damage(self, data: st.DataObject, how: str) -> None:
        there = [self.own, *(self.own.rglob("*") if is_directory(self.own) else ())]
        place = data.draw(st.sampled_from(sorted(there)))
        if how == "write":
            # Through a link it would be the source that is written into.
            if place.is_file() and place.lstat().st_nlink == 1:
                place.write_text("wrong")
            return
        if how == "more" and is_directory(place):
            (place / "more").write_text("wrong")
            return
        if how == "close" and is_directory(place):
            place.chmod(0o500)
            return
        if is_directory(place):
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        match how:
            case "file":
                place.write_text("wrong")
            case "directory":
                (place / "x").mkdir(parents=True)
            case "link":
                place.symlink_to(self.precious)
            case _:
                pass

    def teardown(self) -> None:
        """Nothing of it stays."""
        shutil.rmtree(self.directory)


PrivateRootMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestPrivateRoot = PrivateRootMachine.TestCase
