"""Pictures of builds: trace events in, SVG and one self-contained HTML page out.

Pure: text in, text out. The command that reads and writes files is `commands.timeline`.
"""

from headstart_worker.timeline.model import Build, Compile, Join, Need
from headstart_worker.timeline.page import page
from headstart_worker.timeline.reading import read_build
from headstart_worker.timeline.svg import svg

__all__ = ["Build", "Compile", "Join", "Need", "page", "read_build", "svg"]
