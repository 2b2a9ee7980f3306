"""`ldmkit evaluate`: runs a recipe's metrics on its system and writes the report."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ldmkit.engine.components import build
from ldmkit.engine.rehearsal import named
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.evaluation import Evaluation
from ldmkit.interfaces import Metric
from ldmkit.pictures.sheet import Section
from ldmkit.training.data_report import left_out
from ldmkit.types import Say
from ldmkit.verbs import drawn_by
from ldmkit.verbs.measured import Report, measured_on

Measures = Sequence[tuple[Evaluation, Metric]]
"""Metrics, each with what it is given; they share what was computed."""


def evaluate(
    system: System, out: Path, progress: Progress | None = None, say: Say = lambda _: None
) -> dict[str, Any]:
    """Runs the recipe's `evaluate.metrics` and writes `out`/metrics.json and, where one shows pictures,
    `out`/contact.png, after each metric; the report that was written. See `prepared` and `measured`."""
    return measured(system, prepared(system, out, progress), out, say)


def prepared(system: System, out: Path, progress: Progress | None = None) -> Measures:
    """The recipe's metrics, each with what it is to be given. Uses no weights.

    Raises UserError for a recipe without metrics or data, and for a metric that reads what the data lack.
    """
    recipe, registry = system.recipe, system.registry
    if not recipe.evaluate.metrics:
        raise UserError(
            f"recipe '{recipe.name}' names no metrics: set evaluate.metrics, to some of "
            f"{', '.join(registry.names('metric')) or '(no plugin provides any)'}"
        )
    measures = [(c, build(registry, "metric", c)) for c in recipe.evaluate.metrics]
    shown, first = progress or Progress(disable=True), recipe.evaluate.metrics[0]
    reads = tuple(dict.fromkeys(field for _, metric in measures for field in getattr(metric, "reads", ())))
    shared = Evaluation(system, first, shown, cache=out / "cache", reads=reads)
    shared.data("train")
    pairs = [(replace(shared, component=component), metric) for component, metric in measures]
    for evaluation, metric in pairs:
        _check_reads(evaluation, metric)
    return pairs


def measured(system: System, measures: Measures, out: Path, say: Say = lambda _: None) -> dict[str, Any]:
    """The report of these metrics, written into `out`.

    A metric that was measured before, on the same weights, recipe and data, is not measured again. say: is
    told so, and which pictures of the data are left out. Raises UserError, once all others are measured, for
    what a metric cannot measure.
    """
    held = measures[0][0].held
    for line in left_out(held["data", "{}"]):
        say(line)
    report = Report(out, _about(system, held))
    failures = [_added(report, evaluation, metric, say) for evaluation, metric in measures]
    if lines := [line for line in failures if line is not None]:
        raise UserError("\n".join(lines))
    return report.content([evaluation.component for evaluation, _ in measures])


def _added(report: Report, evaluation: Evaluation, metric: Metric, say: Say) -> str | None:
    """Measures a metric that the report does not have yet and writes it there; why that failed, if it did."""
    component, shown = evaluation.component, len(evaluation.sections)
    if report.has(component):
        say(f"metric ({component.name}): measured before; remove {report.path} to measure it again")
        return None
    try:
        result = _measured(evaluation, metric, say)
    except UserError as error:
        del evaluation.sections[shown:]
        return str(error)
    report.add(component, result, evaluation.sections)
    return None


def _check_reads(evaluation: Evaluation, metric: Metric) -> None:
    """UserError for a metric that reads fields which the data lack."""
    fields = ("image", *evaluation.data("train").fields)
    if missing := [field for field in getattr(metric, "reads", ()) if field not in fields]:
        there = ", ".join(fields[1:]) or "no fields"
        way_out = ": choose one with `field`" if "field" in evaluation.component.parameters else ""
        raise evaluation.error(f"reads {', '.join(missing)}, which the data lack; they have {there}{way_out}")


def _measured(evaluation: Evaluation, metric: Metric, say: Say) -> dict[str, Any]:
    started = time.monotonic()
    component = evaluation.component
    with named("metric", component, "cannot measure"):
        figures = _plain(metric(evaluation), "it")
        if not isinstance(figures, dict):
            raise ValueError(f"gives {type(figures).__name__}, a mapping of names to figures is expected")
        if any(not isinstance(section, Section) for section in evaluation.sections):
            raise ValueError("appends something else than a Section to the contact sheet's sections")
    if undefined := [name.removeprefix("it.") for name in _undefined(figures, "it")]:
        say(f"metric ({component.name}): {', '.join(undefined)}: not finite, null in metrics.json")
    if not figures:
        say(f"metric ({component.name}): gives no figures")
    seconds = round(time.monotonic() - started, 1)
    return {
        "name": component.name,
        "parameters": dict(component.parameters),
        "figures": figures,
        "seconds": seconds,
    }


def _plain(value: Any, where: str) -> Any:
    """Figures as JSON holds them; infinite and undefined numbers become None.

    Numbers of numpy and torch become Python's. ValueError names anything that JSON cannot hold.
    """
    if isinstance(value, Mapping):
        return {_plain(str(name), where): _plain(inner, f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, where) for inner in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # lone surrogates cannot be written
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"{where} is {type(value).__name__}, which no report can hold: give numbers or text")


def _undefined(value: Any, where: str) -> Iterator[str]:
    """The names of the plain figures that are None."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _undefined(inner, f"{where}.{name}")
    elif isinstance(value, list):
        yield from dict.fromkeys(name for inner in value for name in _undefined(inner, where))
    elif value is None:
        yield where


def _about(system: System, held: Mapping[Hashable, Any]) -> dict[str, Any]:
    """What the figures were measured on."""
    recipe = system.recipe
    assert recipe.data is not None
    plugins = {e.distribution: e.version for e in system.registry if e.kind == "metric"}
    return {
        "recipe": recipe.name,
        **measured_on(system),
        **(drawn_by.frozen(system) if recipe.denoiser else {}),
        "data": {**recipe.data.flat(), "digest": held["data", "{}"].digest},
        "sampler": recipe.sampler.flat(),
        "guidance": [guide.flat() for guide in recipe.guidance],
        "versions": {**{name: version(name) for name in ("ldmkit", "torch")}, **plugins},
    }
