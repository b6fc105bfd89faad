"""The wrapper as people have it: a wheel of this tree, installed by pip into an environment of its own. An editable checkout starts differently."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent


@contextmanager
def installed() -> Iterator[Path]:
    """The directory of the environment's programs, `process-wrapper` and `python` among them; removed afterwards.

    What `headstart launcher` writes is there too, as `launcher/process-wrapper`. What the wheel depends on comes from the environment that this program runs in.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-installed-") as directory:
        wheels, place = Path(directory, "wheels"), Path(directory, "venv")
        _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", f"--outdir={wheels}", str(ROOT)])
        (wheel,) = wheels.iterdir()
        venv.create(place)
        python = place / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", f"--python={python}"]
        _run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
        packages = place / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        launcher = place / "bin" / "launcher"
        launcher.mkdir()
        _run([str(place / "bin" / "headstart"), "launcher", str(launcher / "process-wrapper")])
        yield place / "bin"


def _run(command: Sequence[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the wheel cannot be installed; {command[0]} said: {done.stdout}{done.stderr}")
