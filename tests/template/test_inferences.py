"""The generated programs talk with what was exported, without this package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.olive
MODEL = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"


def program(project, name, *arguments, typed=""):
    result = subprocess.run(
        [sys.executable, f"inferences/{name}", *arguments],
        cwd=project, input=typed, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_chat_keeps_a_conversation(make, put_tiny, run_scaffolder):
    settings = {"r": 4, "max_steps": 2, "max_seq_len": 128, "export_preset": "adapters", "learning_rate": 0.02}
    project = make(text_template="Say: {prompt}", system_prompt="Be brief.", **settings)
    put_tiny(project, "llama-chatml", MODEL)
    run_scaffolder(project, "run", "all", "--json")
    far_too_long = "word " * 600
    lines = [
        "What is rain?", "/adapter", "/adapter base", "/reset", "What is rain?", "/adapter nowhere", "/save talk.jsonl",
        far_too_long, "/system Be long.", "/reset", far_too_long, "/nonsense", "/quit", "not asked",
    ]  # fmt: skip
    shown = program(project, "chat.py", typed="\n".join(lines) + "\n")
    told = [line.partition("[")[2] for line in shown.splitlines() if "[" in line]
    assert shown.startswith("adapters, 512 tokens of context")
    assert shown.count(" tokens at ") == 2
    assert shown.count("the model takes 512: /reset]") == 2
    assert "base, adapter_weights]" in told
    assert "no adapter nowhere; there are: base, adapter_weights]" in told
    assert "/save FILE" in shown
    saved = json.loads((project / "talk.jsonl").read_text(encoding="utf-8"))["messages"]
    assert [message["role"] for message in saved] == ["system", "user", "assistant"]
    assert (saved[0]["content"], saved[1]["content"]) == ("Be brief.", "Say: What is rain?")
    # Asked the command's own way, the model reads as many tokens.
    asked = ("generate", "What is rain?", "--json", "--max-new-tokens", "8", "--model", "onnx")
    ours = run_scaffolder(project, *asked)
    assert f"[read {ours['prompt_tokens']} tokens" in shown
    assert program(project, "app.py", "What", "is", "rain?").startswith("What is rain?\n")
