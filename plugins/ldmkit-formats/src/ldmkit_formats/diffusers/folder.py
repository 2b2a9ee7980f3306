"""Reading a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ldmkit import System
from ldmkit.artifacts import check_inside, read_folder
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import ImportOptions, Published, component_of, parameters
from ldmkit.interchange.reading import number, read_json
from ldmkit.keymaps import short, some
from ldmkit_formats.diffusers import export
from ldmkit_formats.diffusers.conditions import Pipeline, read_conditions
from ldmkit_formats.diffusers.layout import (
    DENOISERS,
    FIRST_STAGES,
    FORMAT,
    GUIDANCE,
    INDEX,
    PIPELINES,
    SCALING,
    SETTINGS,
    STEM,
    TEXTS,
    UNUSED,
)
from ldmkit_formats.diffusers.schedulers import read_scheduler
from ldmkit_formats.guiding import guide


class Folder:
    """Format `diffusers`: `model_index.json` and a sub-folder a component, or one first stage by itself."""

    def accepts(self, source: Path) -> bool:
        """Whether it is a folder."""
        return source.is_dir()

    def read(self, registry: Registry, source: Path, options: ImportOptions) -> Published:
        """Reads a pipeline, or a first stage by itself."""
        if options.config is not None or options.weights is not None:
            raise UserError(
                f"{source} is a folder with configurations of its own: leave out --config and --weights"
            )
        if (source / INDEX).exists():
            return _pipeline(registry, source, options)
        if not (source / "config.json").exists():
            raise UserError(
                f"{source} holds neither {INDEX} nor config.json: name the folder of a pipeline, or of its "
                "first stage"
            )
        return _first_stage(registry, source)

    def write(self, system: System, out: Path) -> list[str]:
        """Writes a pipeline, or a first stage by itself."""
        return export.write(system, out)


def _pipeline(registry: Registry, folder: Path, options: ImportOptions) -> Published:
    index = read_json(check_inside(folder, folder / INDEX))
    parts = _parts(folder, index)
    first = next((name for name in FIRST_STAGES if name in parts), None)
    network = next(name for name in DENOISERS if name in parts)
    published = Published({"compression": {"name": "identity"}}, {"compression": {}})
    if first is not None:
        published = _first_stage(registry, folder / first, parts[first])
    config = read_part(folder / network, parts[network])
    _network(registry, published, folder / network, config)
    read_conditions(registry, published, folder, Pipeline(index, parts, config), options)
    _scheduler(published, folder, parts["scheduler"], config)
    aside = sorted(UNUSED & set(parts))
    if aside:
        published.notes.append(f"left aside {', '.join(aside)}: no part of the model that makes pictures")
    published.notes += _beside(index)
    unnamed = sorted(path.name for path in folder.glob("*.safetensors"))
    unnamed += [n for n in (*FIRST_STAGES, *DENOISERS, *TEXTS) if n not in parts and (folder / n).is_dir()]
    if unnamed:
        published.notes.append(f"left aside {some(unnamed)}: {INDEX} does not name it")
    _guidance(published, index.get("_class_name"))
    return published


def _parts(folder: Path, index: Mapping[str, Any]) -> dict[str, str]:
    """The class of each part; UserError for parts that a recipe has no place for, or that lie elsewhere."""
    parts = {k: str(v[1]) for k, v in index.items() if isinstance(v, list) and len(v) == 2 and v[1]}
    known = {*FIRST_STAGES, *DENOISERS, *TEXTS, "scheduler", "low_res_scheduler", *UNUSED}
    strange = sorted(parts.keys() - known)
    if strange or "scheduler" not in parts or not parts.keys() & set(DENOISERS):
        why = f"it has {', '.join(strange)}" if strange else "it lacks a denoiser or a scheduler"
        raise UserError(
            f"{folder / INDEX}: {short(index.get('_class_name'))} is no pipeline that a recipe can hold: "
            f"{short(why, 300)}"
        )
    for name in parts:  # a part may be a link to a folder elsewhere
        check_inside(folder, folder / name)
    return parts


def _beside(index: Mapping[str, Any]) -> Iterator[str]:
    """Lines on entries of a pipeline's index, apart from its parts, that a recipe does not hold."""
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        yield f"{INDEX}: _class_name {short(name)} is left aside: its parts are joined as they fit each other"
    for key, value in index.items():
        if not (isinstance(value, list) or key.startswith("_") or key in SETTINGS):
            yield f"{INDEX}: {short(key)} {short(value, 60)} is left aside"


def read_part(folder: Path, name: str | None = None) -> dict[str, Any]:
    """A sub-folder's configuration, whose class is that of the pipeline's index where it says none."""
    config = read_json(check_inside(folder, folder / "config.json"))
    return {"_class_name": name, **config} if name else config


def _first_stage(registry: Registry, folder: Path, name: str | None = None) -> Published:
    config = read_part(folder, name)
    component = component_of(registry, FORMAT, "compression", str(config.get("_class_name")), str(folder))
    values = parameters(registry, FORMAT, component, config)
    scale, shift = number(config, "scaling_factor", SCALING), number(config, "shift_factor", 0.0)
    return Published({"compression": values}, {"compression": read_folder(folder, STEM)}, scale, shift)


def _network(registry: Registry, published: Published, folder: Path, config: Mapping[str, Any]) -> None:
    component = component_of(registry, FORMAT, "denoiser", str(config["_class_name"]), str(folder))
    published.recipe["denoiser"] = parameters(registry, FORMAT, component, config)
    published.tensors["denoiser"] = read_folder(folder, STEM)
    published.configs["denoiser"] = config
    factor = published.recipe["compression"].get("factor", 1)
    size = config.get("sample_size")
    sides = [size, size] if isinstance(size, int) else size
    if isinstance(sides, list) and len(sides) == 2 and all(isinstance(s, int) and s > 0 for s in sides):
        published.recipe["sample"] = {"size": [side * factor for side in sides]}


def _scheduler(published: Published, folder: Path, name: str, network: Mapping[str, Any]) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    config = {"_class_name": name, **read_json(check_inside(folder, path))}
    channels = published.recipe["compression"].get("channels", 3)
    reading = read_scheduler(config, int(number(network, "out_channels", channels)), channels)
    published.recipe |= reading.recipe
    published.notes += reading.notes


def _guidance(published: Published, pipeline: Any) -> None:
    """The pipeline's own classifier-free guidance, before what clips the guided estimate."""
    scale = GUIDANCE.get(pipeline) if isinstance(pipeline, str) else None
    if scale is not None and published.recipe["conditioners"]:
        guide(published, scale, f"as {pipeline} draws by default")
