"""What is asked wrongly is told before weights are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from small_recipes import LATENTS

from ldmkit.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", "mine.yaml"), "names no metrics: set evaluate.metrics"),
        (("evaluate", "mine.yaml", "-s", "evaluate.metrics=[reconstruction]"), "has no data to evaluate on"),
        (("encode", "mine.yaml", "pictures", "out"), "pictures: no such folder"),
        (("decode", "mine.yaml", "latents", "out"), "latents: no such folder"),
        (("encode", "mine.yaml", "mine", "mine"), "mine holds no picture"),
        (("sample", "mine.yaml", "-s", "sampler.steps=5000"), "5000"),
    ],
)
def test_before_weights(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    values = {**LATENTS, "name": "mine", "sample": {"size": [32, 32]}, "sampler": {"name": "ddim"}}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "weights" not in result.output
