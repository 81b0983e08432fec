"""`scaffolder fleet` on real projects, remotes on disk, and tools that note what they are asked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY, git
from tests.templates import commit, files

BRANCH = "scaffolder/update-v1.1.0"


def rows(result):
    return {row["name"]: row for row in json.loads(result.out)}


def mine(folder, text="mine\n"):
    """Change what the template changes, too."""
    path = folder / "readme.md"
    path.write_text(path.read_text().replace("line 7\n", text))
    commit(folder, "mine")


def remote_of(folder):
    """Give a project a bare remote beside it."""
    remote = folder.with_name(f"{folder.name}.git")
    git(folder.parent, "clone", "--quiet", "--bare", folder.name, remote.name)
    git(folder, "remote", "add", "origin", str(remote))
    git(folder, "fetch", "--quiet", "origin")
    return remote


def snapshot(folder):
    """Everything that a fleet could have changed: files, branches, index."""
    return (
        files(folder),
        git(folder, "for-each-ref"),
        git(folder, "status", "--porcelain"),
        git(folder, "worktree", "list"),
    )


def test_status_is_a_row_a_project(cli, teams):
    mine(teams / "two")
    result = cli("fleet", "status", "*", "--json")
    assert result.code == 0
    found = rows(result)
    assert {name: row["state"] for name, row in found.items()} == {
        "one": "behind",
        "three": "behind",
        "two": "conflict",
    }
    assert (found["two"]["user_changes"], found["one"]["behind"], found["one"]["newest"]) == (1, 1, "v1.1.0")
    assert [conflict["path"] for conflict in found["two"]["conflicts"]] == ["readme.md"]


def test_projects_are_listed_in_a_file(cli, teams, tmp_path, monkeypatch):
    (tmp_path / "fleet.toml").write_text('projects = ["teams/*", "teams/one"]\n')
    monkeypatch.chdir(tmp_path)
    assert len(rows(cli("fleet", "status", "--json"))) == 3
    (tmp_path / "fleet.toml").write_text("project = []\n[update]\nfirst = -1\nwaves = 2\n")
    result = cli("fleet", "status")
    assert result.code == 2
    assert all(word in result.err for word in ("projects", "`project`", "update.first", "update.waves"))
    (tmp_path / "fleet.toml").unlink()
    assert "projects = [" in cli("fleet", "status").err


def test_update_is_one_commit_on_a_branch_and_folders_stay(cli, teams):
    (teams / "one" / "readme.md").write_text("in the middle of something\n")
    before = files(teams / "one")
    result = cli("fleet", "update", "*", "--json")
    assert result.code == 0
    assert {row["state"] for row in rows(result).values()} == {"proposed"}
    assert files(teams / "one") == before
    assert git(teams / "one", "branch", "--show-current").strip() == "main"
    assert git(teams / "one", "log", "--format=%B", f"main..{BRANCH}").strip() == (
        "Update from template v1.0.0 to v1.1.0\n\nv1.1.0\n- Seven is said in words"
    )
    assert "line seven" in git(teams / "one", "show", f"{BRANCH}:readme.md")
    assert git(teams / "one", "diff", "--name-only", "main", BRANCH).split() == [
        ".copier-answers.yml",
        "gone.txt",
        "readme.md",
    ]
    again = cli("fleet", "update", "*", "--json")
    assert {row["state"] for row in rows(again).values()} == {"already proposed"}


def test_conflicts_are_left_and_exit_is_seven(cli, teams):
    mine(teams / "two")
    before = snapshot(teams / "two")
    result = cli("fleet", "update", "*", "--json")
    assert result.code == 7
    assert rows(result)["two"]["state"] == "conflict"
    assert snapshot(teams / "two") == before
    assert cli("fleet", "update", "two", "--conflict", "ours").code == 0
    assert "mine" in git(teams / "two", "show", f"{BRANCH}:readme.md")
    assert cli("fleet", "update", "two", "--conflict", "inline").code == 2


def test_current_branch_is_only_taken_when_asked(cli, teams):
    assert cli("fleet", "update", "one", "--current-branch").code == 0
    assert len(git(teams / "one", "log", "--oneline").splitlines()) == 2
    assert "line seven" in (teams / "one" / "readme.md").read_text()


def test_command_must_succeed_in_the_result(cli, teams):
    before = snapshot(teams / "two")
    command = "grep -q 'line seven' readme.md && git diff --quiet HEAD && test $(basename $PWD) != two"
    result = cli("fleet", "update", "*", "--run", command, "--json")
    assert result.code == 3
    assert {name: row["state"] for name, row in rows(result).items()} == {
        "one": "proposed",
        "three": "proposed",
        "two": "failed",
    }
    assert "ended with 1" in rows(result)["two"]["message"]
    assert snapshot(teams / "two") == before


def test_push_goes_to_the_branch_alone(cli, teams):
    remote = remote_of(teams / "one")
    head = git(remote, "rev-parse", "main")
    assert cli("fleet", "update", "one", "--push").code == 0
    assert git(remote, "rev-parse", "main") == head
    assert git(remote, "rev-parse", BRANCH) == git(teams / "one", "rev-parse", BRANCH)


def test_git_address_is_cloned_shallow_and_pushed_from(cli, teams):
    mine(teams / "one", "line 7\nmore\n")
    git(teams / "one", "tag", "big")
    remote = remote_of(teams / "one")
    result = cli("fleet", "update", f"file://{remote}", "--push", "--run", "grep -q seven readme.md", "--json")
    assert result.code == 7  # the user's line stands where the template's goes
    result = cli("fleet", "update", f"file://{remote}", "--push", "--conflict", "theirs", "--json")
    assert result.code == 0, result.err
    [row] = rows(result).values()
    assert git(remote, "rev-parse", BRANCH).strip() == row["commit"]
    assert git(row["folder"], "rev-parse", "--is-shallow-repository").strip() == "true"
    git(teams / "one", "fetch", "--quiet", "origin")
    assert git(teams / "one", "rev-parse", f"origin/{BRANCH}~1") == git(teams / "one", "rev-parse", "main")


TOOL = """#!{python}
import json, sys
json.dump(sys.argv, open({log!r}, "w"))
print("creating a request")
print("https://example.com/requests/7")
"""


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("gh", ["pr", "create", "--title", "--body", "--head", "--base"]),
        ("glab", ["mr", "create", "--title", "--description", "--source-branch", "--yes", "--target-branch"]),
        ("az", ["repos", "pr", "create", "--title", "--description", "--source-branch", "--target-branch"]),
    ],
)
def test_pull_request_is_opened_by_the_tool_that_is_installed(cli, teams, tmp_path, monkeypatch, tool, words):
    remote_of(teams / "one")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / tool).write_text(TOOL.format(python=sys.executable, log=str(tmp_path / "log")))
    (tools / tool).chmod(0o755)
    (tools / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(tools))
    result = cli("fleet", "update", "one", "--pr", "--json")
    assert result.code == 0, result.out
    assert rows(result)["one"]["request"] == "https://example.com/requests/7"
    asked = json.loads((tmp_path / "log").read_text())[1:]
    assert [word for word in asked if word in words] == words
    assert {"Update from template v1.0.0 to v1.1.0", BRANCH, "main"} <= set(asked)
    assert "Seven is said in words" in " ".join(asked)


def test_missing_tool_is_named(cli, teams, tmp_path, monkeypatch):
    remote_of(teams / "one")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    result = cli("fleet", "update", "one", "--pr")
    assert result.code == 3
    assert "gh or glab or az" in result.err


def test_waves_stop_when_too_many_fail(cli, teams):
    result = cli(
        "fleet", "update", "*", "--first", "1", "--wave", "1", "--run", "test $(basename $PWD) != three", "--json"
    )
    assert result.code == 3
    assert {name: row["state"] for name, row in rows(result).items()} == {
        "one": "proposed",
        "three": "failed",
        "two": "waiting",
    }
    again = cli("fleet", "update", "*", "--resume", "--run", "true", "--json")
    assert again.code == 0
    assert {row["state"] for row in rows(again).values()} == {"proposed"}


def test_page_holds_every_project_and_escapes(cli, teams, template, tmp_path):
    template.project(teams / "<b>bold", "v1.0.0", name="x")
    assert cli("fleet", "status", "*", "--html", tmp_path / "pages" / "fleet.html").code == 0
    text = (tmp_path / "pages" / "fleet.html").read_text()
    assert all(name in text for name in ("one", "two", "three", "&lt;b&gt;bold"))
    assert "<b>bold" not in text


def missing_git(folder, template, monkeypatch):
    shutil.rmtree(folder / ".git")
    return "not in a git repository"


def corrupt_answers(folder, template, monkeypatch):
    (folder / ".copier-answers.yml").write_text("[[")
    commit(folder, "corrupt")
    return ".copier-answers.yml"


def gone_version(folder, template, monkeypatch):
    path = folder / ".copier-answers.yml"
    path.write_text(path.read_text().replace("v1.0.0", "v0.9.0"))
    commit(folder, "gone")
    return "no version `v0.9.0`"


def unreachable_template(folder, template, monkeypatch):
    path = folder / ".copier-answers.yml"
    path.write_text(path.read_text().replace("~/template", "https://127.0.0.1:9/template.git"))
    commit(folder, "unreachable")
    return "cannot read the template"


def rejected_push(folder, template, monkeypatch):
    hook = folder.with_name("three.git") / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    return "not pushed"


def missing_folder(folder, template, monkeypatch):
    shutil.rmtree(folder)
    return "is no folder"


FAULTS = (missing_git, corrupt_answers, gone_version, unreachable_template, rejected_push, missing_folder)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_broken_project_is_named_and_the_others_are_done(cli, teams, template, monkeypatch, fault):
    for name in ("one", "two", "three"):
        remote_of(teams / name)
    message = fault(teams / "three", template, monkeypatch)
    before = snapshot(teams / "three") if (teams / "three" / ".git").exists() else None
    result = cli("fleet", "update", "one", "three", "two", "--push", "--json")
    assert result.code == 3
    found = rows(result)
    assert {name: row["state"] for name, row in found.items()} == {
        "one": "proposed",
        "three": "failed",
        "two": "proposed",
    }
    assert message in found["three"]["message"]
    assert before is None or snapshot(teams / "three") == before


def test_detached_head_shallow_clone_and_submodule_are_no_obstacles(cli, teams):
    git(teams / "one", "checkout", "--quiet", "--detach")
    git(teams, "clone", "--quiet", "--depth", "1", f"file://{teams}/two", "shallow")
    git(teams / "three", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(teams / "two"), "inner")
    commit(teams / "three", "inner")
    result = cli("fleet", "update", "one", "shallow", "three", "--run", "grep -q seven readme.md", "--json")
    assert result.code == 0, result.out
    for name in ("one", "shallow", "three"):
        assert "line seven" in git(teams / name, "show", f"{BRANCH}:readme.md")
    assert "160000 commit" in git(teams / "three", "ls-tree", BRANCH)


@pytest.mark.parametrize("seed", range(10))
def test_killed_process_takes_no_other_project_along(cli, teams, seed):
    before = snapshot(teams / "three")
    killer = str(REPOSITORY / "tests" / "killed.py")
    # The n-th time that a process is started in this one project.
    command = [sys.executable, killer, "subprocess.Popen", str(teams / "three"), str(1 + seed), "fleet", "update"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [*command, "one", "three", "two", "--json"],
        cwd=teams,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    found = {row["name"]: row for row in json.loads(result.stdout)}
    assert {name: row["state"] for name, row in found.items()} == {
        "one": "proposed",
        "three": "failed",
        "two": "proposed",
    }
    assert "process died" in found["three"]["message"]
    assert snapshot(teams / "three") == before
    assert cli("fleet", "update", "three").code == 0


def test_options_come_before_the_file(cli, teams):
    remote_of(teams / "one")
    (teams / "fleet.toml").write_text('projects = ["one"]\n[update]\npush = true\n')
    assert cli("fleet", "update", "--no-push").code == 0
    assert BRANCH in git(teams / "one", "branch", "--list", BRANCH)
    assert not git(teams / "one.git", "branch", "--list", BRANCH)
    assert cli("fleet", "update").code == 0
    assert BRANCH in git(teams / "one.git", "branch", "--list", BRANCH)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_interrupt_ends_after_the_project_at_hand_and_resume_does_the_rest(cli, teams):
    before = {name: snapshot(teams / name) for name in ("three", "two")}
    begun = teams.parent / "begun"
    check = f'{sys.executable} -c "import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(2)"'
    arguments = ["fleet", "update", "one", "three", "two", "--jobs", "1", "--run", check]
    running = subprocess.Popen(
        [sys.executable, "-m", "scaffolder", *arguments],
        cwd=teams,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    # What a terminal does: every process of the group gets it, the check in the result too.
    os.killpg(running.pid, signal.SIGINT)
    _, talk = running.communicate(timeout=60)
    assert (running.returncode, "go on with --resume" in talk) == (130, True), talk
    assert BRANCH in git(teams / "one", "branch", "--list", BRANCH)
    assert {name: snapshot(teams / name) for name in ("three", "two")} == before
    result = cli("fleet", "update", "one", "three", "two", "--resume", "--json")
    assert {name: row["state"] for name, row in rows(result).items()} == dict.fromkeys(
        ("one", "three", "two"), "proposed"
    )


def test_missing_git_is_named_in_the_row(cli, project, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    result = cli("fleet", "status", project)
    assert result.code == 3
    assert "git is not installed" in result.err
    update = cli("update")
    assert update.code == 4
    assert "git is not installed" in update.err


def test_conflicts_that_need_hands_are_not_for_a_fleet(cli, project):
    for choice in ("inline", "README.md=rej"):
        result = cli("fleet", "update", project, "--conflict", choice)
        assert result.code == 2
        assert "a fleet takes `ours` or `theirs`" in result.err
