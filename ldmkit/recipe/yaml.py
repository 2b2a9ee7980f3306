"""YAML to plain values with the place of each: no tags, no duplicate keys, no bombs. Imports no torch.

The scalars are those of YAML 1.2's core schema: 5e-4 is a number, `no` and `2024-01-01` are text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from ldmkit.disk import opened
from ldmkit.errors import UserError
from ldmkit.recipe.problems import MAX_SHOWN
from ldmkit.recipe.sources import Place, Source

MAX_BYTES = 128 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 32
"""Limits of one recipe file; nodes are counted with every alias written out."""

TAG = "tag:yaml.org,2002:"


_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
CORE = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
)
"""Plain scalars of YAML 1.2's core schema: type, pattern, first characters."""


def add_core(resolver: type[BaseResolver]) -> None:
    """Adds the core schema to a resolver."""
    for name, pattern, first in CORE:
        resolver.add_implicit_resolver(TAG + name, re.compile(rf"^(?:{pattern})$"), list(first))


class CoreResolver(BaseResolver):
    """A resolver of the core schema alone."""


add_core(CoreResolver)


class _Loader(Reader, Scanner, Parser, Composer, CoreResolver):
    """PyYAML's parser up to the node graph, where aliases are still shared; nothing is constructed."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        CoreResolver.__init__(self)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Refuses deep nesting and long documents while they are read."""
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs lack it
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=mark)
        if self._nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES} values", problem_mark=mark)
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


@dataclass
class _Reading:
    """One document while its nodes become values."""

    label: str
    positions: bool = True
    source: Source = field(init=False)
    problems: list[str] = field(default_factory=list)
    nodes: int = 0

    def __post_init__(self) -> None:
        self.source = Source(self.label)

    def place(self, node: Node) -> str:
        """ "file:line:column", counted from 1; the label alone for text of the command line."""
        mark = node.start_mark
        return f"{self.label}:{mark.line + 1}:{mark.column + 1}" if self.positions else self.label

    def value(self, node: Node, path: Place) -> Any:
        """The value of a node; lists become tuples. Problems are collected."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise UserError(f"{self.place(node)}: its aliases stand for more than {MAX_NODES} values")
        self.source.values[path] = self.place(node)
        if isinstance(node, MappingNode) and node.tag == TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == TAG + "seq":
            return tuple(self.value(child, (*path, i)) for i, child in enumerate(node.value))
        if isinstance(node, ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node)
        self.problems.append(f"{self.place(node)}: tag '{node.tag}' is not allowed; a recipe is plain data")
        return None

    def _mapping(self, node: MappingNode, path: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode) or key.tag != TAG + "str":
                self.problems.append(f"{self.place(key)}: a key must be text; quote it")
            elif key.value in mapping:
                first = self.source.keys[(*path, key.value)]
                self.problems.append(f"{self.place(key)}: duplicate key '{key.value}', first at {first}")
            else:
                self.source.keys[(*path, key.value)] = self.place(key)
                mapping[key.value] = self.value(child, (*path, key.value))
        return mapping

    def _scalar(self, node: ScalarNode) -> Any:
        try:
            return _SCALARS[node.tag](node.value)
        except (ValueError, KeyError):
            message = f"'{node.value[:40]}' cannot be read as {node.tag.removeprefix(TAG)}"
            self.problems.append(f"{self.place(node)}: {message}")
            return None


def _integer(text: str) -> int:
    value = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if abs(value) >= 2**64:
        raise ValueError("no setting is that large")
    return value


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    TAG + "null": lambda text: None,
    TAG + "bool": lambda text: {"true": True, "false": False}[text.lower()],
    TAG + "int": _integer,
    TAG + "float": _number,
    TAG + "str": str,
}


def read_text(text: str, label: str, *, positions: bool = True) -> tuple[Any, Source]:
    """The value of one YAML document and its places. UserError holds a line for each problem."""
    reading = _Reading(label, positions)
    try:
        node = _Loader(text).get_single_node()
    except yaml.YAMLError as error:
        raise UserError(_syntax(error, label, positions)) from error
    value = None if node is None else reading.value(node, ())
    if reading.problems:
        raise UserError("\n".join(reading.problems[:MAX_SHOWN]))
    return value, reading.source


def _syntax(error: yaml.YAMLError, label: str, positions: bool) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{label}:{mark.line + 1}:{mark.column + 1}" if mark and positions else label
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return f"{place}: not readable as YAML: {reason}"


def read_file(path: Path) -> tuple[Any, Source]:
    """The value of a recipe file; UserError for one that is missing, too large or not text."""
    try:
        with opened(path) as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES // 1024} KiB; a recipe is a short file")
    value, source = read_text(text, str(path))
    source.origin = path
    return value, source
