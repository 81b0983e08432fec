from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scaffolder.errors import UsageError

from .conftest import REPOSITORY, read_jsonc

# Container and CI by every pair; the rest takes turns, so that each value meets several others.
TURNS = [
    {"licence": "none", "pre_commit": False, "renovate": False, "readme_language": "en"},
    {"licence": "MIT", "pre_commit": True, "renovate": False, "readme_language": "fr"},
    {"licence": "Apache-2.0", "pre_commit": False, "renovate": True, "readme_language": "en"},
    {"licence": "MIT", "pre_commit": True, "renovate": True, "readme_language": "fr", "device": "cuda"},
]
PAIRS = itertools.product(("none", "cpu", "cuda"), ("none", "github", "azure"))
COMBINATIONS = [
    {"devcontainer": container, "ci": ci, **turn, **({"device": "cuda"} if container == "cuda" else {})}
    for (container, ci), turn in zip(PAIRS, itertools.cycle(TURNS), strict=False)
]
FILES = {
    ("devcontainer", "none"): set(),
    ("devcontainer", "cpu"): {".devcontainer/devcontainer.json"},
    ("devcontainer", "cuda"): {".devcontainer/devcontainer.json"},
    ("ci", "none"): set(),
    ("ci", "github"): {".github/workflows/check.yml", "setup/leftovers.py"},
    ("ci", "azure"): {"azure-pipelines.yml", "setup/leftovers.py"},
    ("licence", "none"): set(),
    ("licence", "MIT"): {"LICENSE"},
    ("licence", "Apache-2.0"): {"LICENSE"},
    ("pre_commit", False): set(),
    ("pre_commit", True): {".pre-commit-config.yaml"},
    ("renovate", False): set(),
    ("renovate", True): {"renovate.json"},
}
OPTIONAL = set().union(*FILES.values())


def name_of(answers):
    return "-".join(str(value) for value in answers.values())


def check_schema(*arguments, cwd=None):
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(params=COMBINATIONS, ids=name_of)
def answers(request):
    return request.param


def test_options_bring_their_files_and_no_other(make_project, answers):
    root = make_project(**answers)
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    wanted = set().union(*(FILES.get(item, set()) for item in answers.items()))
    assert there & OPTIONAL == wanted
    assert not [name for name in there if "_readme" in name or name.endswith(".jinja")]
    assert {"README.md", "setup/Dockerfile", "setup/environment.yml", "setup/README.md"} <= there


def test_every_file_is_clean(make_project, answers):
    root = make_project(**answers)
    for path in sorted(item for item in root.rglob("*") if item.is_file()):
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        assert re.fullmatch(r"[A-Za-z0-9._/-]+", name), name
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        assert not re.search(r"[ \t]+$", text, re.M), name
        assert "\n\n\n" not in text or path.suffix == ".py" or path.name == "LICENSE", name
        # An expression of a CI system is not ours.
        assert not re.search(r"\{%|%\}|\{#(?!/)|(?<!\$)\{\{", text), name
        if path.suffix == ".json":
            read_jsonc(path)
        elif path.suffix in (".yml", ".yaml"):
            assert yaml.safe_load(text)


def test_foreign_formats_follow_their_schemas(make_project, answers):
    root = make_project(**answers)
    schemas = {
        ".github/workflows/check.yml": "vendor.github-workflows",
        "azure-pipelines.yml": "vendor.azure-pipelines",
        "renovate.json": "vendor.renovate",
    }
    for name, schema in schemas.items():
        if (root / name).is_file():
            # Some patterns of these schemas are no valid ECMAScript ones in Unicode mode.
            code, output = check_schema("--regex-variant", "python", "--builtin-schema", schema, root / name)
            assert code == 0, output


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_devcontainer_installs_the_lock(make_project, device):
    root = make_project(devcontainer=device, device=device)
    container = read_jsonc(root / ".devcontainer/devcontainer.json")
    assert "setup/requirements.txt" in container["postCreateCommand"]["packages"]
    assert container.get("hostRequirements") == ({"gpu": True} if device == "cuda" else None)
    assert ("--gpus" in container.get("runArgs", [])) == (device == "cuda")
    assert "ms-vscode-remote.remote-containers" in read_jsonc(root / ".vscode/extensions.json")["recommendations"]


def test_container_with_a_card_needs_the_cuda_stack(make_project):
    with pytest.raises(UsageError, match="stack"):
        make_project(devcontainer="cuda", device="cpu")


@pytest.mark.parametrize("stack", ["cpu", "cuda"])
def test_setup_files_install_one_lock(make_project, stack):
    from scaffolder import presets

    root = make_project(device=stack)
    lines = (root / "setup/requirements.txt").read_text().splitlines()
    assert {line.split("==")[0] for line in lines if "==" in line} == set(presets.lock(stack))
    conda = yaml.safe_load((root / "setup/environment.yml").read_text())
    assert conda["dependencies"][-1] == {"pip": ["-r requirements.txt"]}
    assert "COPY requirements.txt" in (root / "setup/Dockerfile").read_text()
    assert ("gcc" in (root / "setup/Dockerfile").read_text()) == (stack == "cuda")


@pytest.mark.parametrize(("name", "expected"), [("My Model 2.0", "my-model-2-0"), ("a_b-", "a-b")])
def test_names_fit_conda_and_docker(make_project, name, expected):
    root = make_project(project_name=name)
    assert yaml.safe_load((root / "setup/environment.yml").read_text())["name"] == expected
    assert f"docker build -t {expected} setup" in (root / "setup/README.md").read_text()


def test_licences_are_the_standard_texts(make_project):
    mit = (make_project(licence="MIT", copyright_holder="Ada & Co") / "LICENSE").read_text()
    assert mit.splitlines()[2] == "Copyright (c) Ada & Co"
    assert mit.splitlines()[3:] == (REPOSITORY / "LICENSE").read_text().splitlines()[3:]
    apache = (make_project(licence="Apache-2.0") / "LICENSE").read_text()
    assert apache.split() == (REPOSITORY / "scaffolder/catalog/licences/Apache-2.0.txt").read_text().split()
    assert "END OF TERMS AND CONDITIONS" in apache


def test_schemas_travel_unchanged(generated):
    shipped = REPOSITORY / "scaffolder/catalog/schemas"
    for path in shipped.glob("*.json"):
        assert (generated / ".vscode/schemas" / path.name).read_bytes() == path.read_bytes()
    assert len(list((generated / ".vscode/schemas").iterdir())) == len(list(shipped.glob("*.json"))) == 2


def ci_commands(root, ci):
    """The shell lines that the pipeline runs, without those that install."""
    if ci == "github":
        steps = yaml.safe_load((root / ".github/workflows/check.yml").read_text())["jobs"]["check"]["steps"]
    else:
        steps = yaml.safe_load((root / "azure-pipelines.yml").read_text())["jobs"][0]["steps"]
    script = "\n".join(step.get("run") or step.get("script") or "" for step in steps)
    return "\n".join(line for line in script.splitlines() if "pip install" not in line)


@pytest.fixture(params=["github", "azure"])
def pipeline(request, make_project, tmp_path):
    """A repository with the check, and a function that runs the check in it."""
    root = tmp_path / "travel"
    shutil.copytree(make_project(ci=request.param), root)
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run():
        script = "set -e\n" + ci_commands(root, request.param)
        return subprocess.run(
            ["bash", "-c", script],
            cwd=root,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return root, run


def git(root, *arguments, check=True):
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    command = ["git", *identity, "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(command, cwd=root, check=check, capture_output=True, text=True)


def test_ci_accepts_a_new_project(pipeline):
    _root, run = pipeline
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "check-jsonschema==" not in done.stdout


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("fine-tuning/lora.json", '"lora_dropout"', '"lora_dropuot"', "lora_dropuot"),
        ("gen-model/onnx-int8.json", '"bits": 8', '"bits": "8"', "bits"),
        ("scaffolder.toml", "train =", "trian =", "trian"),
        ("README.md", "## 1.", "<<<<<<< before updating\n## 1.", "README.md:16: error: conflict marker"),
        ("datasets/README.md", "# datasets", ">>>>>>> after updating", "datasets/README.md:1: error: conflict marker"),
    ],
)
def test_ci_refuses(pipeline, path, old, new, message):
    root, run = pipeline
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new, 1))
    done = run()
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_ci_refuses_rejected_hunks(pipeline):
    root, run = pipeline
    (root / "README.md.rej").write_text("@@ -1 +1 @@\n")
    git(root, "add", "--all")
    done = run()
    assert done.returncode != 0
    assert "README.md.rej:1: error:" in done.stdout


def test_ci_refuses_unmerged_entries(pipeline):
    root, run = pipeline
    git(root, "checkout", "--quiet", "-b", "other")
    (root / "README.md").write_text("# other\n")
    git(root, "commit", "--quiet", "--all", "--message", "other")
    git(root, "checkout", "--quiet", "main")
    (root / "README.md").write_text("# main\n")
    git(root, "commit", "--quiet", "--all", "--message", "main")
    assert git(root, "merge", "other", check=False).returncode == 1
    (root / "README.md").write_text("# markers taken out, not yet added\n")
    done = run()
    assert done.returncode != 0
    assert "README.md:1: error: unmerged" in done.stdout


@pytest.mark.parametrize(("ci", "name"), [("github", ".github/workflows/check.yml"), ("azure", "azure-pipelines.yml")])
def test_ci_checks_with_the_version_that_is_tested_here(make_project, ci, name):
    pinned = re.search(r"check-jsonschema==\S+", (make_project(ci=ci) / name).read_text())[0]
    assert pinned in (REPOSITORY / "locks/dev.txt").read_text().split()


def test_pre_commit_hooks(make_project):
    hooks = yaml.safe_load((make_project(pre_commit=True) / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    by_id = {hook["id"]: hook for hook in hooks}
    marker = re.compile(by_id["conflict-markers"]["entry"].encode())
    assert marker.search(b"<<<<<<< before updating")
    assert not marker.search(b"x <<<<<<< y")
    assert re.search(by_id["rejected-hunks"]["files"], "fine-tuning/lora.json.rej")
    files = re.compile(by_id["scaffolder-validate"]["files"])
    assert files.search("fine-tuning/lora.json")
    assert files.search("scaffolder.toml")
    assert not files.search("gen-model/onnx-int8/genai_config.json")


def test_renovate_leaves_the_lock_alone(make_project):
    config = json.loads((make_project(renovate=True) / "renovate.json").read_text())
    assert config["enabledManagers"] == ["copier"]


def test_options_come_and_go_with_an_update(tmp_path):
    template, root = tmp_path / "template", tmp_path / "travel"
    template.mkdir()
    for name in ("copier.yml", "template", "scaffolder/catalog"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, template / name)
    for folder in (template, root):
        if folder is root:
            copier("copy", "--defaults", "-d", "ci=github", "-d", "licence=MIT", template, root)
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "first")
        git(folder, "tag", "v1.0.0")
    copier("update", "--defaults", "-d", "ci=azure", "-d", "licence=none", root)
    changed = set(git(root, "status", "--porcelain").stdout.splitlines())
    assert changed == CHANGED_BY_UPDATE
    assert (root / "azure-pipelines.yml").is_file()


CHANGED_BY_UPDATE = {
    " M .copier-answers.yml",
    " D .github/workflows/check.yml",
    " D LICENSE",
    " M .vscode/extensions.json",
    " M README.md",
    "?? azure-pipelines.yml",
}


def copier(*arguments):
    """Copier's own program, which refuses templates that would need `--trust`."""
    command = [sys.executable, "-m", "copier", *map(str, arguments), "--quiet"]
    return subprocess.run(command, check=True, capture_output=True, text=True)
