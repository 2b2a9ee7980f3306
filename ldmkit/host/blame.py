"""Whose code raised an error: a plugin's or ldmkit's own. Imports no torch."""

from __future__ import annotations

import traceback

from ldmkit.host.registry import Registry


def plugin_in(error: BaseException, registry: Registry) -> str | None:
    """The plugin whose code the error passed through last, as "name version, in module:function, line n";
    None where it passed through none."""
    distributions = {
        entry.target.partition(":")[0].partition(".")[0]: f"{entry.distribution} {entry.version}"
        for entry in registry
        if ":" in entry.target
    }
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] in distributions:
            whose = distributions[module.partition(".")[0]]
            return f"{whose}, in {module}:{frame.f_code.co_qualname}, line {line}"
    return None
