"""`ldmkit report` and `ldmkit runs`: what a person sees of a training, whatever state it is in."""

from __future__ import annotations

import json
import os
import re
from html import unescape

import PIL.Image
import pytest
import yaml
from click.testing import CliRunner
from small_recipes import PIXELS

from ldmkit.cli import main
from ldmkit.pictures.png import save_picture
from ldmkit.verbs.report.charts import chart
from ldmkit.verbs.report.recipes import chosen

RECIPE = {
    **PIXELS,
    "name": "first",
    "data": {"name": "image-folder", "path": "no-pictures", "size": 16},
    "train": {"diffusion": {"steps": 40, "batch": 8, "lr": 0.002}},
}


def run_verb(*words):
    outcome = CliRunner().invoke(main, [str(w) for w in words])
    return outcome.exit_code, outcome.output


@pytest.fixture
def runs(tmp_path):
    """A run of 40 steps that stands at step 30."""
    folder = tmp_path / "runs" / "first" / "diffusion-0123456789ab"
    (folder / "pictures").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "versions.json").write_text(json.dumps({"torch": "9.9"}))
    records = [
        {"step": s, "seconds": s * 2.0, "loss": 1 / s, "pictures_per_second": 8.0} for s in (10, 20, 30)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    for step in (10, 30):
        save_picture(PIL.Image.new("RGB", (8, 8), "red"), folder / f"pictures/step-{step:08d}.png", {})
    return tmp_path / "runs"


def test_a_run_under_way_is_shown_with_its_state_curves_and_pictures(runs, tmp_path):
    code, said = run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert code == 0, said
    assert "step 30 of 40" in page
    assert "<details><summary>1</summary>torch 9.9</details>" in page
    assert page.count("data:image/webp;base64,") == 3  # the shown one, and two behind the slider
    # 30 steps of 8 pictures at 8 pictures a second are 30 of the 60 seconds.
    assert "steps: 30 s (50 %)" in page


def test_the_page_asks_for_nothing_from_elsewhere(runs, tmp_path):
    run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "https://" not in page.replace("http://www.w3.org", "")


def test_values_that_differ_from_their_defaults_are_listed_and_no_others(runs):
    values = chosen(runs / "first/diffusion-0123456789ab/recipe.yaml")
    assert values["train.diffusion.batch"] == 8
    assert values["denoiser.multipliers"] == tuple(RECIPE["denoiser"]["multipliers"])
    assert values["denoiser.width"] == 32
    assert not [name for name in values if name.endswith(("betas", "checkpoint_every")) or "sampler" in name]


def test_text_out_of_files_is_escaped(runs, tmp_path):
    hostile = "<script>alert(1)</script>"
    about = {"prompt": hostile, "seed": "1"}
    save_picture(PIL.Image.new("RGB", (8, 8)), runs / "first/samples/000.png", about)
    folder = runs / "first" / f"{hostile.replace('/', '')}"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1, "<i>gain": 1.0}\n')
    run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert hostile not in page
    assert "<i>gain" not in page
    assert hostile in unescape(page)


def test_figures_that_are_older_than_the_weights_are_told(runs, tmp_path):
    report = runs / "first/evaluation/metrics.json"
    report.parent.mkdir()
    report.write_text(json.dumps({"metrics": [{"name": "frechet", "figures": {"distance": 0.25}}]}))
    weights = runs / "first/diffusion-0123456789ab/diffusion.safetensors"
    for later in (False, True):
        if later:
            weights.write_bytes(b"")
            os.utime(report, (1.0, 1.0))
        code, said = run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
        assert code == 0, said
        page = (tmp_path / "page.html").read_text()
        assert "<td>distance</td>" in page
        assert ("Measured before the newest training ended" in page) == later


def test_a_damaged_run_is_shown_with_remarks(runs, tmp_path):
    folder = runs / "first/diffusion-0123456789ab"
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 40, "lo\n\xff\xfe\n[1]\n')
    (folder / "recipe.yaml").write_text("recipe: [")
    (folder / "versions.json").write_text("{")
    (folder / "pictures/step-00000030.png").write_bytes(b"no picture")
    code, said = run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert code == 0, said
    assert "3 lines of metrics.jsonl are not readable" in page
    assert "cannot be read by the installed plugins" in page
    assert "versions.json is missing or not readable" in page
    assert re.search(r"not readable: \S*step-00000030.png", page)
    assert "recipe.yaml:1:10" in page  # where the text of the recipe breaks off
    assert "How to train it again" not in page


def test_one_damaged_line_is_told_as_one(runs, tmp_path):
    with (runs / "first/diffusion-0123456789ab/metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo\n')
    run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
    assert "1 line of metrics.jsonl is not readable" in (tmp_path / "page.html").read_text()


def test_samples_say_what_they_show_and_a_damaged_one_its_name(runs, tmp_path):
    about = {"prompt": "a red fox", "seed": "7", "options": '["sampler.steps=3"]'}
    save_picture(PIL.Image.new("RGB", (8, 8)), runs / "first/samples/000.png", about)
    (runs / "first/samples/001.png").write_bytes(b"\x89PNG")
    run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<figcaption>a red fox, seed 7</figcaption>" in page
    assert "001.png is not readable" in page


def test_a_recipe_is_reported_by_its_name_too(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").write_text(yaml.safe_dump(RECIPE))
    code, said = run_verb("report", "mine", "-o", "page.html")
    assert code == 0, said
    assert "step 30 of 40" in (tmp_path / "page.html").read_text()
    (tmp_path / "recipes/untrained.yaml").write_text(yaml.safe_dump({**RECIPE, "name": "never"}))
    for words in (("report", "untrained", "-o", "other.html"), ("runs", "clean", "untrained")):
        code, said = run_verb(*words)
        assert code == 2
        assert "no run 'never' in runs" in said


def test_several_runs_are_drawn_over_one_another_and_their_recipes_compared(runs, tmp_path):
    other = runs / "second/diffusion-ba9876543210"
    other.mkdir(parents=True)
    recipe = {**RECIPE, "name": "second", "train": {"diffusion": {"steps": 40, "batch": 8, "lr": 0.004}}}
    (other / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (other / "metrics.jsonl").write_text('{"step": 10, "seconds": 1, "loss": 0.5}\n')
    run_verb("report", "first", "second", "--runs", runs, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    compared = page[page.index("Where the recipes differ") :]
    assert "train.diffusion.lr" in compared.split("</table>")[0]
    assert "train.diffusion.batch" not in compared.split("</table>")[0]
    drawn = page.split("loss over the steps")[1].split("</svg>")[0]
    assert drawn.count("<polyline") == 1
    assert drawn.count("<circle") == 1  # a single point


def test_of_several_trainings_of_a_stage_the_newest_is_shown_and_the_others_named(runs, tmp_path):
    newer = runs / "first/diffusion-000000000000"  # earlier by name
    newer.mkdir()
    (newer / "recipe.yaml").write_text(
        yaml.safe_dump({**RECIPE, "train": {"diffusion": {"steps": 7, "batch": 8, "lr": 0.004}}})
    )
    (newer / "metrics.jsonl").write_text('{"step": 7, "seconds": 1, "loss": 0.625}\n')
    earlier = runs / "first/diffusion-0123456789ab"
    os.utime(earlier / "metrics.jsonl", (1, 1))
    run_verb("report", "first", "--runs", runs, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "step 30 of 40" in page
    section = page[page.index("Diffusion stage") :]
    assert "0.625" in section.split("<svg")[0]
    assert f"an earlier one: {earlier}" in section
    assert '<td>train.diffusion.steps</td><td class="n">7</td>' in section


def test_a_figure_with_one_value_has_an_axis_of_its_size():
    ticks = [float(tick.label) for tick in chart("validation_loss", {"a": [(50, 0.08)]}).up]
    assert min(ticks) > 0
    assert max(ticks) < 0.13


def test_a_chart_places_its_points_in_proportion():
    drawn = chart("loss", {"a": [(0, 2.0), (50, 3.0), (100, 4.0)], "empty": []})
    (line,) = drawn.lines
    (x0, y0), (x1, y1), (x2, y2) = (map(float, p.split(",")) for p in line.drawn.split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.11)
    assert y0 > y2  # upwards is less in SVG
    assert line.last == 4.0
    assert [tick.label for tick in drawn.across] == ["0", "20", "40", "60", "80", "100"]


def test_a_figure_that_spans_decades_is_drawn_logarithmically_and_infinite_values_are_left_out():
    drawn = chart("loss", {"a": [(0, 100.0), (1, 1.0), (2, float("inf")), (3, 0.01)]})
    heights = [float(p.split(",")[1]) for p in drawn.lines[0].drawn.split()]
    assert drawn.logarithmic
    assert len(heights) == 3
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.11)
    assert chart("nothing", {"a": [(0, float("nan"))]}) is None


def test_a_run_that_is_not_there_is_named_with_the_nearest_one(runs):
    code, said = run_verb("report", "frist", "--runs", runs)
    assert code == 2
    assert "did you mean 'first'?" in said


def test_runs_are_listed_with_state_step_losses_and_size(runs):
    code, said = run_verb("runs", "--runs", runs, "list", "--json")
    (row,) = json.loads(said)
    assert code == 0
    assert (row["run"], row["stage"], row["state"]) == ("first", "diffusion", "step 30 of 40")
    assert row["loss"] == pytest.approx(1 / 30)
    assert row["size"] == sum(f.stat().st_size for f in (runs / "first").rglob("*") if f.is_file())


def test_cleaning_frees_checkpoints_of_finished_stages_alone_after_telling_how_much(runs):
    folder = runs / "first/diffusion-0123456789ab"
    (folder / "step-00000030").mkdir()
    (folder / "step-00000030/model.safetensors").write_bytes(b"x" * 1500)
    assert run_verb("runs", "clean", "--runs", runs)[1].strip() == "nothing to clean"
    (folder / "diffusion.safetensors").write_bytes(b"weights")
    outcome = CliRunner().invoke(main, ["runs", "clean", "--runs", str(runs)], input="n\n")
    assert "1.5 kB" in outcome.output
    assert (folder / "step-00000030").exists()
    code, said = run_verb("runs", "clean", "--yes", "--runs", runs)
    assert code == 0
    assert "freed 1.5 kB" in said
    assert not (folder / "step-00000030").exists()
    assert (folder / "diffusion.safetensors").exists()
    assert (folder / "metrics.jsonl").exists()
