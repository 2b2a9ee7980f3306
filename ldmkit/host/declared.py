"""The names of a component's parameters, read off its source without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ldmkit.host.registry import Entry

Definition = ast.ClassDef | ast.FunctionDef


def declared_parameters(entry: Entry) -> list[str]:
    """The keyword-only parameters of a component's constructor, those that `**options` passes on to a base
    class among them, as `ldmkit.host.parameters` derives them; [] where its source cannot be read."""
    module, _, attribute = entry.target.partition(":")
    return list(dict.fromkeys(_of_name(module, attribute)))


def _of_name(module: str, name: str) -> Iterator[str]:
    """The parameters of a class or function by its name in a module, or in the one it is imported from."""
    for node in _body(module):
        if isinstance(node, Definition) and node.name == name:
            yield from _of_definition(module, node)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield from _of_name(node.module, alias.name)


def _of_definition(module: str, node: Definition) -> Iterator[str]:
    constructor = node if isinstance(node, ast.FunctionDef) else _constructor(node)
    if constructor is not None:
        yield from (argument.arg for argument in constructor.args.kwonlyargs)
        if constructor.args.kwarg is None:
            return
    for base in node.bases if isinstance(node, ast.ClassDef) else ():
        named = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(named, ast.Name):
            yield from _of_name(module, named.id)


def _constructor(node: ast.ClassDef) -> ast.FunctionDef | None:
    functions = (part for part in node.body if isinstance(part, ast.FunctionDef))
    return next((function for function in functions if function.name == "__init__"), None)


@cache
def _body(module: str) -> tuple[ast.stmt, ...]:
    """The statements of a module's file; empty for torch and for files that cannot be read."""
    file = None if module.startswith("torch") else _file(module)
    try:
        return tuple(ast.parse(file.read_bytes()).body) if file else ()
    except (OSError, SyntaxError, ValueError):
        return ()


def _file(module: str) -> Path | None:
    """The source file of a module, found without importing its packages."""
    package, *inner = module.split(".")
    spec = find_spec(package)
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    stems = [Path(root).joinpath(*inner) for root in spec.submodule_search_locations or ()]
    files = [path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py")]
    return next((path for path in files if path.is_file()), None)
