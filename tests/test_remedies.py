"""Remedies name what this project's own lock holds."""

import pytest

from scaffolder.worker import remedies


@pytest.mark.parametrize(
    ("lock", "way"),
    [
        ("onnxruntime-genai==0.14.1\n", "pip install onnxruntime-genai==0.14.1"),
        ("onnxruntime-genai-cuda==0.15.1\n", '"gen-model/genai_fixes.py"'),
    ],
)
def test_the_way_to_a_builder_that_olive_can_call_goes_by_the_stack(tmp_path, lock, way):
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "requirements.txt").write_text(lock, encoding="utf-8")
    assert way in remedies.callable_builder({"root": str(tmp_path)})


def test_versions_of_the_builds_for_cards_are_compared(tmp_path):
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "requirements.txt").write_text("onnxruntime-genai-cuda==0.15.1\n", encoding="utf-8")
    assert "onnxruntime-genai-cuda missing, tested 0.15.1" in remedies.other_versions({"root": str(tmp_path)})
