"""Three releases of this very template, made from the tracked list, taken from the first to the last."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_golden import CASES, edit, git, golden_answers

from scaffolder.cli import main
from scaffolder.generator import _completed
from scaffolder.templating.bundle import CONTENT, make_bundle

REPOSITORY = Path(__file__).parents[2]


def commit(folder, message):
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", message)
    shown = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return shown.stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone without tags, whose list names three releases."""
    folder = tmp_path_factory.mktemp("releases") / "checkout"
    for name in (*CONTENT, "pyproject.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    releases = [commit(folder, "1.0.0")]
    edit(folder / "copier.yml", "warmup_steps=3", "warmup_steps=5")
    app = folder / "template" / "inferences" / "app.py.jinja"
    app.rename(app.with_name("lab.py.jinja"))
    releases.append(commit(folder, "1.1.0"))
    edit(folder / "copier.yml", "lr_scheduler_type='cosine'", "lr_scheduler_type='linear'")
    (folder / "template" / "inferences" / "new.md").write_text("# New\n", encoding="utf-8")
    releases.append(commit(folder, "1.2.0"))
    edit(folder / "pyproject.toml", 'version = "', 'version = "1.2.0" # ')
    lines = [f"v1.{number}.0 {release}\n" for number, release in enumerate(releases)]
    (folder / "RELEASES").write_text("# Version and commit\n" + "".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def bundle(checkout):
    place = Path.home() / "releases.bundle"
    if not place.exists():
        make_bundle(checkout, place)
    return "~/releases.bundle"


def answers(name):
    return [part for key, value in _completed(golden_answers(name)).items() for part in ("-d", f"{key}={json.dumps(value)}")]


def made(place, bundle, name, ref):
    assert main(["new", str(place), "--defaults", "-q", "--template", bundle, "--ref", ref, *answers(name)]) == 0
    return place


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".git", ".scaffolder"} & set(path.relative_to(folder).parts)
    }


@pytest.mark.parametrize("name", CASES)
def test_project_goes_from_the_first_release_to_the_last(name, bundle, tmp_path, capsys):
    project = made(tmp_path / name, bundle, name, "v1.0.0")
    assert main(["update", str(project), "--commit", "-q"]) == 0, capsys.readouterr().err
    assert files(project) == files(made(tmp_path / "fresh" / name, bundle, name, "v1.2.0"))
    assert "_src_path: ~/releases.bundle\n" in (project / ".copier-answers.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_edits_go_along_from_the_first_release_to_the_last(name, bundle, tmp_path, capsys):
    project = made(tmp_path / name, bundle, name, "v1.0.0")
    edit(project / "fine-tuning" / "lora.json", '"log_severity_level": 1', '"log_severity_level": 2')
    edit(project / "scaffolder.toml", "[workflows.gen-model]", "# mine\n[workflows.gen-model]")
    edit(project / "inferences" / "app.py", "import", "# mine\nimport")
    (project / "datasets" / "train.jsonl").write_text('{"prompt": "mine", "response": "too"}\n', encoding="utf-8")
    commit(project, "mine")
    for version in ("v1.1.0", "v1.2.0"):
        assert main(["update", str(project), "--to", version, "--commit", "-q"]) == 0, capsys.readouterr().err
    lora = (project / "fine-tuning" / "lora.json").read_text(encoding="utf-8")
    assert all(text in lora for text in ('"warmup_steps": 5', '"log_severity_level": 2', '"linear"'))
    assert "# mine\n" in (project / "scaffolder.toml").read_text(encoding="utf-8")
    assert "# mine\n" in (project / "inferences" / "lab.py").read_text(encoding="utf-8")
    assert not (project / "inferences" / "app.py").exists()
    assert "mine" in (project / "datasets" / "train.jsonl").read_text(encoding="utf-8")


def test_same_releases_make_the_same_bundle(checkout, tmp_path):
    refs = []
    for name in ("one", "two"):
        make_bundle(checkout, tmp_path / name)
        listed = subprocess.run(["git", "ls-remote", tmp_path / name], check=True, capture_output=True, text=True)
        refs.append(listed.stdout)
    assert refs[0] == refs[1]
    assert refs[0].count("refs/tags/") == 3


def test_shallow_clone_is_told_what_is_missing(checkout, tmp_path):
    commit(checkout, "list")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{checkout}", shallow], check=True)
    assert main(["template", "where"]) == 0
    from scaffolder.errors import EnvironmentFault

    with pytest.raises(EnvironmentFault, match="is not in this clone"):
        make_bundle(shallow, tmp_path / "bundle")


def test_wheel_and_source_distribution_carry_the_template(tmp_path):
    """Built as an installer builds them: the wheel from the unpacked source distribution, without git."""
    build = [sys.executable, "-m", "hatchling", "build", "-t"]
    options = {"check": True, "capture_output": True}
    subprocess.run([*build, "sdist", "-d", tmp_path], cwd=REPOSITORY, **options)
    [archive] = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    subprocess.run([*build, "wheel", "-d", tmp_path], cwd=source, **options)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    program = "import sys; from scaffolder.cli import main; sys.exit(main(['new', 'travel', '--defaults', '-q']))"
    installed = {"PYTHONPATH": str(tmp_path / "installed"), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "c")}
    import os

    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, **installed}, **options)
    assert (tmp_path / ".scaffolder" / "template.bundle").is_file()
    assert "_src_path: ~/.scaffolder/template.bundle\n" in (tmp_path / "travel" / ".copier-answers.yml").read_text()
