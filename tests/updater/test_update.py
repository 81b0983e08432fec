"""`scaffolder update` and `status` on real templates."""

import json
import os
import shutil
import subprocess
import sys
import warnings

import pytest

from tests.conftest import git
from tests.templates import commit, files


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_update_without_edits_is_a_fresh_project_and_a_second_one_does_nothing(cli, template, made, tmp_path):
    assert cli("update").code == 0
    fresh = template.project(tmp_path / "fresh", "v1.1.0", name="mine", colour="blue")
    assert files(made) == {**files(fresh), "data.jsonl": b"1\n"}  # the user's own since it exists
    assert git(made, "diff", "--cached", "--name-only") == ""
    commit(made, "updated")
    again = cli("update")
    assert again.code == 0
    assert "up to date with v1.1.0" in again.err
    assert git(made, "status", "--porcelain") == ""


def test_update_is_what_copier_does_where_copier_can(cli, made, tmp_path):
    from copier import run_update

    edit(made / "readme.md", "line 2\n", "mine\n")
    (made / "own.txt").write_text("own\n")
    commit(made, "mine")
    theirs = tmp_path / "theirs"
    shutil.copytree(made, theirs)
    assert cli("update").code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_update(theirs, defaults=True, overwrite=True, quiet=True)
    assert files(made) == files(theirs)


def test_plain_copier_goes_on_after_our_update(cli, template, made):
    cli("update", "--commit", "-q")
    template.release("v1.2.0", {"readme.md.jinja": "# {{ name }}, third\n"}, {"colour": {"type": "str"}})
    command = [sys.executable, "-m", "copier", "update", "--defaults", "--quiet"]
    subprocess.run(command, cwd=made, check=True, capture_output=True)
    assert (made / "readme.md").read_text() == "# mine, third\n"


def test_edits_next_to_changes_of_keys_are_kept(cli, made):
    edit(made / "config.json", '"rate": 1', '"rate": 5')
    commit(made, "mine")
    assert cli("update", "--commit").code == 0
    assert json.loads((made / "config.json").read_text()) == {"rate": 5, "steps": 10, "warmup": 3}
    assert git(made, "log", "-1", "--format=%B").splitlines()[:4] == [
        "Update from template v1.0.0 to v1.1.0",
        "",
        "v1.1.0",
        "- Seven is said in words, which reads better",
    ]


def test_conflict_touches_nothing_and_says_how_to_go_on(cli, made):
    edit(made / "readme.md", "line 7\n", "mine\n")
    commit(made, "mine")
    before = files(made)
    result = cli("update")
    assert result.code == 7
    assert "readme.md" in result.out
    assert "--conflict" in result.err
    assert files(made) == before
    assert git(made, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("mode", "kept", "code"), [("ours", "mine\n", 0), ("theirs", "line seven\n", 0), ("rej", "mine\n", 7)]
)
def test_conflict_is_settled_as_asked(cli, made, mode, kept, code):
    edit(made / "readme.md", "line 7\n", "mine\n")
    commit(made, "mine")
    assert cli("update", "--conflict", f"readme.md={mode}").code == code
    assert kept in (made / "readme.md").read_text()
    assert "<<<<" not in (made / "readme.md").read_text()
    assert (made / "readme.md.rej").is_file() == (mode == "rej")
    assert (made / "new.txt").read_text() == "blue\n"


def test_markers_are_unmerged_entries_for_git(cli, made):
    edit(made / "readme.md", "line 7\n", "mine\n")
    commit(made, "mine")
    assert cli("update", "--conflict", "inline").code == 7
    assert "<<<<<<< yours\nmine\n" in (made / "readme.md").read_text()
    assert [line.split()[2] for line in git(made, "ls-files", "--unmerged").splitlines()] == ["1", "2", "3"]
    second = cli("update")
    assert second.code == 2
    assert "merge is under way" in second.err


def test_conflicts_are_never_committed(cli, made):
    edit(made / "readme.md", "line 7\n", "mine\n")
    commit(made, "mine")
    assert cli("update", "--conflict", "inline", "--commit").code == 2
    assert git(made, "status", "--porcelain") == ""


def test_deleted_file_stays_deleted(cli, made):
    (made / "config.json").unlink()
    commit(made, "without")
    result = cli("update")
    assert result.code == 0
    assert "config.json stays deleted" in result.err
    assert not (made / "config.json").exists()


def test_dirty_folder_is_refused_with_its_files(cli, made):
    edit(made / "readme.md", "line 2\n", "mine\n")
    result = cli("update")
    assert result.code == 2
    assert "M readme.md" in result.err


def test_untracked_file_in_the_way_is_never_overwritten(cli, made):
    (made / "new.txt").write_text("mine\n")
    result = cli("update")
    assert result.code == 7
    assert (made / "new.txt").read_text() == "mine\n"


def test_project_inside_a_larger_repository(cli, template, tmp_path, monkeypatch):
    top = tmp_path / "all"
    root = template.project(top / "apps" / "made", "v1.0.0", name="mine")
    shutil.rmtree(root / ".git")
    git(top, "init", "--quiet")
    (top / "other.txt").write_text("other\n")
    commit(top, "all")
    edit(top / "other.txt", "other", "not committed, and not ours")
    monkeypatch.chdir(root)
    assert cli("update", "--commit").code == 0
    assert git(top, "show", "--name-only", "--format=").split() == [
        f"apps/made/{name}" for name in (".copier-answers.yml", "config.json", "gone.txt", "new.txt", "readme.md")
    ]
    assert git(top, "status", "--porcelain").split() == ["M", "other.txt"]


def test_answers_change_alone(cli, made):
    assert cli("update", "--answers", "-d", "name=other").code == 0
    assert (made / "readme.md").read_text().startswith("# other\nline 0\n")
    assert "_commit: v1.0.0\n" in (made / ".copier-answers.yml").read_text()
    assert "name: other\n" in (made / ".copier-answers.yml").read_text()
    assert not (made / "new.txt").exists()


def test_answer_given_with_an_update(cli, made):
    assert cli("update", "-d", "colour=red").code == 0
    assert (made / "new.txt").read_text() == "red\n"
    assert cli("update", "-d", "color=red").code == 2


def test_answer_to_what_is_not_asked_is_refused_as_the_next_update_would_lose_it(cli, template, made):
    questions = {
        "loud": {"type": "bool", "default": False},
        "count": {"type": "int", "default": 1, "when": "{{ loud }}"},
    }
    questions["parts"] = {"type": "str", "multiselect": True, "choices": ["hull", "mast"], "default": ["hull"]}
    template.release("v1.2.0", {"readme.md.jinja": "# {{ name }} {{ count }}\n"}, questions)
    for given, told in (("count=2", "`count` is a question only where loud"), ("count=two", "`count` takes a whole")):
        result = cli("update", "-d", given)
        assert result.code == 2
        assert told in result.err
        assert git(made, "status", "--porcelain") == ""
    assert cli("update", "-d", "count=2", "-d", "loud=yes", "-d", 'parts=["mast"]').code == 0
    assert "parts:\n- mast\n" in (made / ".copier-answers.yml").read_text()
    assert "count: 2\n" in (made / ".copier-answers.yml").read_text()


def test_dry_run_changes_nothing(cli, made):
    result = cli("update", "--dry-run")
    assert result.code == 0
    assert "+ new.txt" in result.out
    assert git(made, "status", "--porcelain") == ""


def test_executable_bits_and_links_come_along(cli, template, made):
    template.write("template/run.sh", "#!/bin/sh\n")
    (template.folder / "template" / "run.sh").chmod(0o755)
    git(template.folder, "add", "--all")
    git(template.folder, "commit", "--quiet", "-m", "run")
    git(template.folder, "tag", "v1.2.0")
    assert cli("update", "-q").code == 0
    assert os.access(made / "run.sh", os.X_OK)


def test_status_tells_versions_changes_and_new_answers(cli, made):
    edit(made / "readme.md", "line 7\n", "mine\n")
    commit(made, "mine")
    found = json.loads(cli("status", "--json").out)
    assert (found["version"], found["newest"], found["behind"]) == ("v1.0.0", "v1.1.0", ["v1.1.0"])
    assert found["notes"] == [{"version": "v1.1.0", "lines": ["Seven is said in words, which reads better"]}]
    assert found["commits"] == ["Release v1.1.0"]
    assert found["new_answers"] == {"colour": "blue"}
    assert [change["path"] for change in found["user_changes"]] == ["readme.md"]
    assert [conflict["path"] for conflict in found["conflicts"]] == ["readme.md"]
    assert git(made, "status", "--porcelain") == ""


def test_status_looks_at_what_is_not_committed(cli, made):
    edit(made / "readme.md", "line 2\n", "mine\n")
    assert [change["path"] for change in json.loads(cli("status", "--json").out)["user_changes"]] == ["readme.md"]


def test_status_check_is_for_scripts(cli, made):
    assert cli("status", "--check").code == 8
    assert cli("status").code == 0
    cli("update", "--commit", "-q")
    assert cli("status", "--check").code == 0


def test_status_diff_is_a_patch(cli, made, tmp_path):
    patch = cli("status", "--diff").out
    (tmp_path / "patch").write_text(patch)
    git(made, "apply", "--check", str(tmp_path / "patch"))
    cli("update")
    git(made, "add", "--all")
    assert git(made, "diff", "--cached", "HEAD").strip() == patch.strip()


def test_old_olive_keys_go_with_a_new_olive(cli, template, tmp_path, monkeypatch):
    old = {"setup/requirements.txt": "olive-ai==0.5.0\n", "fine-tuning/lora.json": "{}\n"}
    template.release("v2.0.0", old)
    root = template.project(tmp_path / "olive", "v2.0.0")
    own = '{\n  // my own\n  "passes": {"tune": {"type": "LoRA", "config": {"lora_r": 8}}}\n}\n'
    (root / "fine-tuning" / "mine.json").write_text(own)
    commit(root, "mine")
    template.release("v2.1.0", {**old, "setup/requirements.txt": "olive-ai==0.13.0\n"})
    monkeypatch.chdir(root)
    result = cli("update")
    assert result.code == 0, result.err
    text = (root / "fine-tuning" / "mine.json").read_text()
    assert "// my own" in text
    assert '"r": 8' in text
    assert "fine-tuning/mine.json has today's Olive keys" in result.err


@pytest.mark.parametrize("wrong", ["[[", "name: x\n", ""])
def test_corrupt_answers_are_named(cli, made, wrong):
    (made / ".copier-answers.yml").write_text(wrong)
    for command in ("status", "update"):
        result = cli(command)
        assert result.code == 2
        assert ".copier-answers.yml" in result.err


def test_version_that_is_gone_is_named(cli, template, made):
    git(template.folder, "tag", "-d", "v1.0.0")
    result = cli("status")
    assert result.code == 1
    assert "has no version `v1.0.0`" in result.err


def test_template_that_is_not_there_is_named(cli, template, made):
    template.folder.rename(template.folder.with_name("away"))
    result = cli("status")
    assert result.code == 2
    assert "does not exist" in result.err


def test_template_with_commands_is_refused(cli, template, made):
    template.release("v3.0.0", {"a": "b"}, tasks=["touch evil"])
    result = cli("update")
    assert result.code == 1
    assert "run commands" in result.err
    template.release("v3.1.0", {"a": "b"}, migrations=[{"version": "v3.1.0", "before": ["touch evil"]}])
    assert cli("update").code == 2
    assert git(made, "status", "--porcelain") == ""


def test_downgrade_is_refused(cli, made):
    cli("update", "--commit", "-q")
    assert cli("update", "--to", "v1.0.0").code == 2


def test_folder_without_git_or_template_is_refused(cli, made, tmp_path):
    shutil.rmtree(made / ".git")
    assert "not in a git repository" in cli("update").err
    assert cli("update", tmp_path).code == 2
    assert not (tmp_path / ".scaffolder").exists()


def test_relative_and_machine_paths_are_not_recorded(cli, template, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    shutil.copytree(template.folder, outside)
    monkeypatch.chdir(tmp_path)
    for given in ("outside", str(outside)):
        result = cli("new", "project", "--defaults", "--template", given)
        assert result.code == 0
        assert "was not recorded" in result.err
        assert "_src_path" not in (tmp_path / "project" / ".copier-answers.yml").read_text()
        shutil.rmtree(tmp_path / "project")
    git(outside, "remote", "add", "origin", "https://user:secret@example.com/template.git")
    assert cli("new", "project", "--defaults", "--template", "outside").code == 0
    assert "_src_path: https://example.com/template.git\n" in (tmp_path / "project" / ".copier-answers.yml").read_text()


def test_project_is_connected_later(cli, template, made):
    answers = made / ".copier-answers.yml"
    answers.write_text("".join(line for line in answers.read_text().splitlines(True) if "_src_path" not in line))
    commit(made, "lost")
    assert "not connected" in cli("update").err
    assert cli("update", "--template", "~/template", "--commit").code == 0
    assert "_src_path: ~/template\n" in answers.read_text()


def test_template_comes_from_the_settings_file(cli, template, home, tmp_path):
    (home / ".config" / "scaffolder").mkdir(parents=True)
    file = home / ".config" / "scaffolder" / "settings.toml"
    file.write_text('template = "~/template"\n')
    assert cli("new", tmp_path / "one", "--defaults").code == 0
    assert "_src_path: ~/template\n" in (tmp_path / "one" / ".copier-answers.yml").read_text()
    file.write_text('templte = "x"\n')
    result = cli("new", tmp_path / "two", "--defaults")
    assert result.code == 2
    assert "unknown key `templte`" in result.err


def test_update_waits_for_no_run_and_breaks_none(cli, made):
    from scaffolder.lock import project_lock

    (made / "scaffolder.toml").write_text("")
    commit(made, "manifest")
    with project_lock(made / ".scaffolder", purpose="run all"):
        result = cli("update")
    assert result.code == 1
    assert "run all" in result.err
