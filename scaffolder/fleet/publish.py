"""What happens to an update's commit before and after it gets its branch: checks, push, pull request."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scaffolder import process
from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.git import Repository

if TYPE_CHECKING:
    from scaffolder.fleet.survey import Row
    from scaffolder.updater import Proposal, Subject

_MARKER = re.compile(rb"^(<<<<<<<|>>>>>>>)( |\r?$)", re.MULTILINE)
_ADDRESS = re.compile(r"https?://\S+")
_HOURS = 2.0


def refuse_markers(repository: Repository, proposal: Proposal) -> None:
    """Check that the update brings no conflict marker and no `.rej` file.

    Raises:
        ScaffolderError: It does.
    """
    printed = repository.run(
        "diff-tree", "-r", "-z", "--name-only", "--diff-filter=AM", proposal.parent, proposal.commit
    )
    for raw in printed.split(b"\0")[:-1]:
        path = raw.decode("utf-8", "surrogateescape")
        content = repository.run("cat-file", "blob", f"{proposal.commit}:{path}", accept=(0, 128))
        if path.endswith(".rej") or _MARKER.search(content):
            raise ScaffolderError(f"{path} holds what a conflict leaves behind; the update was not kept")


def run_in_result(subject: Subject, proposal: Proposal, command: str) -> None:
    """Run a command in a copy of the updated project.

    Raises:
        ScaffolderError: It failed.
    """
    with tempfile.TemporaryDirectory(prefix="scaffolder-", ignore_cleanup_errors=True) as name:
        copy = _copy(subject.repository, proposal.commit, Path(name) / subject.root.name)
        shell = ["cmd", "/c"] if sys.platform == "win32" else ["sh", "-c"]
        result = process.pipe([*shell, command], cwd=copy / subject.prefix, timeout=_HOURS * 3600)
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).decode("utf-8", "replace").strip().splitlines()
        raise ScaffolderError(f"`{command}` ended with {result.returncode}: {lines[-1] if lines else 'no output'}")


def _copy(repository: Repository, commit: str, folder: Path) -> Path:
    """Make a repository of its own with a commit's files; it borrows the objects, and nothing is noted in the other."""
    made = Repository(folder)
    folder.mkdir()
    made.run("init", "--quiet")
    alternates = folder / ".git" / "objects" / "info" / "alternates"
    alternates.write_text(f"{repository.absolute_git_path('objects')}\n", encoding="utf-8")
    shallow = repository.absolute_git_path("shallow")
    if shallow.is_file():
        shutil.copyfile(shallow, folder / ".git" / "shallow")
    made.run("checkout", "--quiet", "--detach", commit)
    return folder


def forget_branch(repository: Repository, branch: str) -> None:
    """Delete a branch of a clone that is ours; what was pushed stays where it was pushed to."""
    repository.run("update-ref", "-d", f"refs/heads/{branch}")


def publish(row: Row, subject: Subject, proposal: Proposal, *, push: bool, request: bool, made: bool) -> Row:
    """Push an update's branch and open its pull request, as asked.

    Raises:
        ScaffolderError: The push was rejected, or the request could not be opened; a branch made for it is gone again.
    """
    if not (push or request):
        return row
    repository = subject.repository
    try:
        remote = _remote(repository)
        # Never by force: what others have done to the branch stays.
        repository.run("push", "--quiet", remote, f"refs/heads/{row.branch}:refs/heads/{row.branch}", timeout=300)
    except ScaffolderError as error:
        if made:
            repository.run("update-ref", "-d", f"refs/heads/{row.branch}", proposal.commit)
        raise ScaffolderError(f"not pushed: {error.message}") from error
    return replace(row, request=open_request(subject, remote, row, proposal)) if request else row


def open_request(subject: Subject, remote: str, row: Row, proposal: Proposal) -> str:
    """Open a pull request with the tool of the remote's site, and return its address.

    Raises:
        EnvironmentFault: The tool is not installed.
        ScaffolderError: The tool failed.
    """
    title, _, body = proposal.message.partition("\n")
    body = (
        f"{body.strip()}\n\n{row.changes} files change; {row.user_changes} were changed here before, without conflict."
    )
    base = _base(subject.repository, remote)
    site = urlsplit(subject.repository.text("remote", "get-url", remote)).netloc or remote
    command = _request_command(_tool(site), title, body.strip(), row.branch, base)
    result = process.pipe(command, cwd=subject.root, timeout=300)
    printed = result.stdout.decode("utf-8", "replace")
    if result.returncode != 0:
        lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ScaffolderError(f"the branch is pushed, but `{command[0]}` failed: {lines[-1] if lines else ''}")
    found = _ADDRESS.findall(printed)
    return str(found[-1]) if found else printed.strip()


def _tool(site: str) -> str:
    known = {"github": "gh", "gitlab": "glab", "azure": "az", "visualstudio": "az"}
    wanted = next((tool for word, tool in known.items() if word in site), None)
    tools = [wanted] if wanted else list(dict.fromkeys(known.values()))
    for tool in tools:
        if shutil.which(tool):
            return tool
    raise EnvironmentFault(f"no {' or '.join(tools)} is installed to open pull requests; the branch is pushed")


def _request_command(tool: str, title: str, body: str, branch: str, base: str) -> list[str]:
    if tool == "gh":
        command = ["gh", "pr", "create", "--title", title, "--body", body, "--head", branch]
        return [*command, "--base", base] if base else command
    if tool == "glab":
        command = ["glab", "mr", "create", "--title", title, "--description", body, "--source-branch", branch, "--yes"]
        return [*command, "--target-branch", base] if base else command
    command = ["az", "repos", "pr", "create", "--title", title, "--description", body, "--source-branch", branch]
    return [*command, "--target-branch", base] if base else command


def _remote(repository: Repository) -> str:
    branch = repository.try_text("symbolic-ref", "--short", "-q", "HEAD")
    named = repository.try_text("config", f"branch.{branch}.remote") if branch else None
    remotes = repository.text("remote").splitlines()
    if named in remotes:
        return str(named)
    if not remotes:
        raise ScaffolderError("there is no remote to push to")
    return "origin" if "origin" in remotes else remotes[0]


def _base(repository: Repository, remote: str) -> str:
    """Return the branch that the request goes to; empty where only the site knows."""
    head = repository.try_text("symbolic-ref", "--short", "-q", f"refs/remotes/{remote}/HEAD")
    return head.removeprefix(f"{remote}/") if head else repository.try_text("symbolic-ref", "--short", "HEAD") or ""
