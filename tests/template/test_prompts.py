"""One prompt template in training, in every form of the model and in the export: the same text, byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from scaffolder import catalogue

MODEL = "model-cache/HuggingFaceTB/SmolLM2-135M-Instruct"
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'What is "rain"?\nReally?'},
    {"role": "assistant", "content": "Water."},
    {"role": "user", "content": "And snow?"},
]


def template_of(project):
    return (project / "fine-tuning" / "chat_template.jinja").read_text(encoding="utf-8")


def rendered(template, messages=MESSAGES):
    """What transformers makes of a chat template, whose end token is `<end>` and whose first `<s>`."""
    from transformers.utils.chat_template_utils import render_jinja_template

    ((text,), _) = render_jinja_template([messages], chat_template=template, eos_token="<end>", bos_token="<s>")
    return text


def test_the_tokenizers_own_template_needs_no_file(make):
    project = make()
    assert not (project / "fine-tuning" / "prompt.py").exists()
    assert "prompt_template" not in (project / "scaffolder.toml").read_text(encoding="utf-8")


def test_alpaca_is_written_as_it_is_known(make):
    assert rendered(template_of(make(prompt_template="alpaca"))) == (
        'Be brief.\n\n### Instruction:\nWhat is "rain"?\nReally?\n\n### Response:\nWater.<end>\n\n'
        "### Instruction:\nAnd snow?\n\n### Response:\n"
    )


def test_a_text_of_ones_own(make):
    project = make(prompt_template="custom", prompt_text="Q: {prompt}\\nA: {response}")
    assert rendered(template_of(project), MESSAGES[1:2]) == 'Q: What is "rain"?\nReally?\nA: '


@pytest.mark.parametrize(("model", "first"), [("gemma-3-1b-it", "<s>"), ("Qwen3-0.6B", "Be")])
def test_the_first_token_follows_the_model(model, first, make):
    project = make(prompt_template="alpaca", model=model)
    assert rendered(template_of(project)).startswith(first)


@pytest.mark.parametrize("name", catalogue.prompts())
def test_every_format_is_its_parts(name, make):
    entry = catalogue.prompts()[name]
    text = rendered(template_of(make(prompt_template=name, model="someone/some-model")))
    before, between = entry.turn.removesuffix("{response}").split("{prompt}")
    expected = (
        ("<s>" if entry.bos else "")
        + entry.system.replace("{system}", MESSAGES[0]["content"])
        + before + MESSAGES[1]["content"] + between + "Water.<end>" + entry.between
        + before + MESSAGES[3]["content"] + between
    )  # fmt: skip
    assert text == expected


@pytest.fixture(scope="module")
def settings():
    return {"r": 4, "max_steps": 2, "max_seq_len": 128, "batch_size": 4, "export_preset": "onnx-fp32"}


@pytest.mark.olive
def test_training_and_use_share_the_template(settings, make, put_tiny, run_scaffolder):
    project = make(prompt_template="alpaca", text_template="Say: {prompt}", system_prompt="Be brief.", **settings)
    put_tiny(project, "llama-chatml", MODEL)
    tuned, exported = run_scaffolder(project, "run", "all", "--json")
    assert tuned["metrics"]["template"] == exported["metrics"]["template"]
    assert exported["metrics"]["after"]["loss"] == pytest.approx(tuned["metrics"]["after"]["loss"], rel=1e-3)
    folder = project / "gen-model" / "onnx-fp32"
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8").strip() == template_of(project).strip()
    assert_runtimes_agree(folder, make)
    # Greedy answers of all forms are the same, so all of them were asked the same.
    forms = ("adapter", "merged", "onnx")
    asked = ("generate", "rain", "--max-new-tokens", "6", "--json", "--model")
    answers = [run_scaffolder(project, *asked, form) for form in forms]
    assert len({(answer["text"], answer["prompt_tokens"]) for answer in answers}) == 1
    # Another template is another input: the result is not taken for an old one's.
    template = project / "fine-tuning" / "chat_template.jinja"
    template.write_text(template_of(project).replace("Instruction", "Task"), encoding="utf-8")
    plan = run_scaffolder(project, "run", "all", "--dry-run", "--json")
    assert "chat_template.jinja changed" in json.dumps(plan)


def assert_runtimes_agree(folder, make):
    """ONNX Runtime GenAI renders every format as transformers does."""
    templates = {name: template_of(make(name, prompt_template=name)) for name in catalogue.prompts()}
    program = """
import json, sys
import onnxruntime_genai as og
from transformers import AutoTokenizer
folder, messages, templates = (json.loads(text) for text in sys.argv[1:])
native, ours = og.Tokenizer(og.Model(folder)), AutoTokenizer.from_pretrained(folder)
print(json.dumps([
    [native.apply_chat_template(json.dumps(messages), template_str=text, add_generation_prompt=True),
     ours.apply_chat_template(messages, chat_template=text, tokenize=False, add_generation_prompt=True)]
    for text in templates
]))
"""
    arguments = [json.dumps(value) for value in (str(folder), MESSAGES, list(templates.values()))]
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    pairs = json.loads(result.stdout.splitlines()[-1])
    assert len(pairs) == 8
    for native, ours in pairs:
        assert native == ours
