"""Options that stand in the environment: `HEADSTART_TIMEOUT=60` for `--timeout=60`.

For a launcher that others call, who have no place for options of ours. What a command line says counts more. Not here:
the compiler's own environment (`environment`).
"""

from __future__ import annotations

from headstart_wrapper import option_table
from headstart_wrapper.option_values import refused
from headstart_wrapper.options import Options, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SWITCHES = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def from_variables(environment: Mapping[str, str], *, worker: bool = False) -> Options:
    """What the variables `HEADSTART_...` say: the defaults for a command line.

    An empty variable says nothing. Repeated options have a value a line; flags are switched by 1 and 0.

    Args:
        environment: the process's own.
        worker: it serves requests, for which options of a job on its own mean nothing.

    Raises:
        RequestError: a value is bad; the sentence names the variable.
    """
    values = Values()
    for option in option_table.OPTIONS:
        variable = option.variable
        text = environment.get(variable, "") if variable else ""
        if not text or (option.alone and worker):
            continue
        if option.convert is None:
            if text not in _SWITCHES:
                raise refused(variable, text, "is neither 1 nor 0; set it to 1, or not at all")
            if _SWITCHES[text]:
                values.take(option, True)
            continue
        for line in text.split("\n") if option.repeated else (text,):
            if line:
                values.take(option, option.convert(variable, line))
    return values.over(Options())
