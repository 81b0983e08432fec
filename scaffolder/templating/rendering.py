"""Renders a template's version with answers: into a new project, or as a git tree that is kept for the next time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder.content import write_atomically
from scaffolder.errors import ConfigError, EnvironmentFault, Interrupted, ScaffolderError, UsageError
from scaffolder.templating.answers import ANSWERS_FILE, check_answers, parse_answers
from scaffolder.templating.history import open_history
from scaffolder.templating.origin import find_origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaffolder.templating.history import History, Version

_FORMAT = "2"  # of what is kept
_ANYWHERE = "folder-of-any-name"


@dataclass(frozen=True, slots=True)
class Question:
    """What a template asks, as far as a project's owner is concerned.

    Attributes:
        type: Kind of the answer.
        help: The question itself.
        default: The default, before it is rendered.
        choices: Answers to choose from, as the template writes them; None where any will do.
    """

    type: str
    help: str
    default: str
    choices: str | None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A project as the template makes it.

    Attributes:
        tree: Its files, as a tree in the template's cache.
        answers: As they are recorded, by question.
        questions: The visible ones, by name.
        kept: Files that belong to the user once they exist.
        named: Whether the name of the project's folder is in it, and it was rendered in one of no name.
        unasked: Questions whose condition did not hold, with that condition.
    """

    tree: str
    answers: dict[str, Any]
    questions: dict[str, Question]
    kept: tuple[str, ...]
    named: bool
    unasked: dict[str, str]


@dataclass(frozen=True, slots=True)
class Generated:
    """A project that was generated.

    Attributes:
        answers: Every answer, the computed ones too.
        unasked: Questions whose condition did not hold, with that condition.
    """

    answers: dict[str, Any]
    unasked: dict[str, str]


def render(
    source: str,
    destination: Path,
    *,
    answers: Mapping[str, Any],
    suggestions: Mapping[str, Any] | None = None,
    ref: str | None = None,
    defaults: bool = False,
) -> Generated:
    """Generate a project.

    Args:
        source: The template: a git address, a folder or a bundle.
        destination: Folder to make.
        answers: Answers given beforehand.
        suggestions: Defaults that come before the template's.
        ref: Tag, branch or commit; None for the newest tag.
        defaults: Ask nothing.

    Raises:
        UsageError: An answer is not valid, or belongs to no question.
        Interrupted: The user left the questions.
        ScaffolderError: The template cannot be had or is broken.
    """
    origin = find_origin(source)
    with _our_errors(source):
        if origin.git:
            history = open_history(origin)
            template = load_template(history, history.resolve(ref))
        else:
            template = _plain_template(origin.place)
        known = template.questions_data
        check_answers(answers, known)
        worker = _copy(
            template,
            destination,
            data=dict(answers),
            user_defaults=dict(suggestions or {}),
            defaults=defaults,
        )
        given = dict(worker.answers.combined)
    if origin.recorded is None:
        _forget_source(destination)
    return Generated({name: given[name] for name in known if name in given}, _unasked(worker))


def render_tree(
    history: History,
    version: Version,
    answers: Mapping[str, Any],
    *,
    earlier: bool = False,
    changed: Mapping[str, Any] | None = None,
    ask: bool = False,
    project_name: str = "project",
) -> Rendered:
    """Render a version as a tree in the template's cache, or find it there.

    Args:
        history: The template.
        version: Its version.
        answers: As a project recorded them.
        earlier: The answers were given to this very version; else they are defaults for a newer one, and those
            that it does not take give way, as with `copier update`.
        changed: Answers that the user changes now.
        ask: Ask the questions again, on a terminal.
        project_name: Name of the project's folder. Only where the template makes use of it, it makes a difference:
            else projects with equal answers share one rendering.

    Raises:
        UsageError: An answer is not valid, or belongs to no question.
        ScaffolderError: The template is broken, or wants to run commands.
    """
    parts = [_FORMAT, version.commit, _record(history), earlier, answers, changed or {}]
    found = None
    for folder in (_ANYWHERE, project_name):
        key = hashlib.sha256(json.dumps([*parts, folder], sort_keys=True, default=str).encode()).hexdigest()
        kept = history.folder / "renders" / f"{key}.json"
        found = None if ask else _kept(kept)
        if found is None:
            name = project_name if ask else folder
            found = _render_tree(history, version, answers, name, earlier=earlier, changed=changed or {}, ask=ask)
            kept.parent.mkdir(exist_ok=True)
            write_atomically(kept, json.dumps(asdict(found), default=str))
        if not found.named or ask:
            break
    assert found is not None
    return found


def _render_tree(
    history: History,
    version: Version,
    answers: Mapping[str, Any],
    folder: str,
    *,
    earlier: bool,
    changed: Mapping[str, Any],
    ask: bool,
) -> Rendered:
    with tempfile.TemporaryDirectory() as name, _our_errors(_record(history)):
        root = Path(name) / folder
        template = load_template(history, version)
        if earlier:
            worker = _copy(template, root, data=dict(answers), defaults=True)
        else:
            _refuse_migrations(template)
            check_answers(changed, template.questions_data)
            _put_answers(root, answers)
            worker = _copy(template, root, data=dict(changed), defaults=not ask)
        return _stored(history, worker, root, Path(name) / "index")


def _stored(history: History, worker: Any, root: Path, index: Path) -> Rendered:
    repository = history.repository
    tree = repository.folder_tree(root, index)
    recorded = parse_answers((root / ANSWERS_FILE).read_text(encoding="utf-8")).given
    files = [path.relative_to(root) for path in root.rglob("*") if not path.is_dir()]
    questions = {
        name: Question(
            str(details.get("type", "")),
            str(details.get("help", "")),
            str(details.get("default", "")),
            str(details["choices"]) if "choices" in details else None,
        )
        for name, details in worker.template.questions_data.items()
        if details.get("when") is not False
    }
    mine = tuple(sorted(path.as_posix() for path in files if worker.match_skip(path)))
    named = any(_ANYWHERE.encode() in path.read_bytes() for path in root.rglob("*") if path.is_file())
    return Rendered(tree, json.loads(json.dumps(recorded, default=str)), questions, mine, named, _unasked(worker))


def _kept(path: Path) -> Rendered | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        questions = {name: Question(**details) for name, details in found["questions"].items()}
        return Rendered(
            found["tree"], found["answers"], questions, tuple(found["kept"]), found["named"], found["unasked"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _put_answers(root: Path, answers: Mapping[str, Any]) -> None:
    import yaml

    root.mkdir()
    text = yaml.safe_dump(dict(answers), sort_keys=False, allow_unicode=True)
    (root / ANSWERS_FILE).write_text(text, encoding="utf-8")


def _forget_source(root: Path) -> None:
    """Take the template's place out of the answers: it would hold on this machine alone."""
    path = root / ANSWERS_FILE
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith("_src_path:")), encoding="utf-8")


def _refuse_migrations(template: Any) -> None:
    if template.config_data.get("migrations"):
        raise UsageError("this template has migrations, commands of its own", hint="use `copier update --trust`")


def _unasked(worker: Any) -> dict[str, str]:
    """Return the questions whose condition did not hold, with that condition."""
    found = ((name, worker.template.questions_data[name].get("when")) for name in sorted(worker.answers.hidden))
    return {name: str(when).strip().strip("{}").strip() for name, when in found if when is not False}


def _record(history: History) -> str:
    return history.origin.recorded or history.origin.place


@functools.cache
def _classes() -> tuple[Any, Any]:
    """Return copier's worker and template, told to take files that are there already.

    Copier clones the template, reads its questions and compiles every expression anew for each project.
    A template's version does not change: one checkout, one reading and one set of compiled expressions
    serve all projects. What is rendered is the same (a test compares).
    """
    from copier._main import Worker
    from copier._template import Template

    class Shared(Template):
        """A template whose files are there; nothing to clean up."""

        def _cleanup(self) -> None:
            pass

    class Quick(Worker):
        """A worker that is handed its template."""

        def hand(self, template: Any) -> None:
            self.__dict__["template"] = template
            if not hasattr(template, "expressions"):
                template.expressions = self.jinja_env
                template.expressions.from_string = functools.cache(template.expressions.from_string)
            self.__dict__["jinja_env"] = template.expressions

        def _sync_git_index_executable_bit(self, *_: Any) -> None:
            pass  # would ask git for each file of a folder that is in no repository

    return Quick, Shared


@functools.lru_cache(maxsize=8)
def load_template(history: History, version: Version) -> Any:
    """Return a template's version as copier knows it; one serves all projects of this process."""
    _, shared = _classes()
    template = shared(url=_record(history), ref=version.name)
    facts = {"local_abspath": history.checkout(version).resolve(), "vcs": "git"}
    facts |= {"commit": version.name, "commit_hash": version.commit, "git_index_modes": {}}
    template.__dict__.update(facts)
    return template


def _plain_template(folder: str) -> Any:
    _, shared = _classes()
    template = shared(url=folder)
    template.__dict__.update({"local_abspath": Path(folder).resolve(), "vcs": None, "git_index_modes": {}})
    return template


def _copy(template: Any, destination: Path, **options: Any) -> Any:
    quick, _ = _classes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        worker = quick(src_path=template.url, dst_path=destination, overwrite=True, quiet=True, **options)
        with worker:
            worker.hand(template)
            worker.run_copy()
    return worker


@contextlib.contextmanager
def _our_errors(source: str) -> Iterator[None]:
    from copier.errors import (
        CopierAnswersInterrupt,
        CopierError,
        InteractiveSessionError,
        UnsafeTemplateError,
    )

    try:
        yield
    except ScaffolderError:
        raise
    except (CopierAnswersInterrupt, KeyboardInterrupt):
        raise Interrupted("stopped before anything was made") from None
    except InteractiveSessionError as error:
        raise UsageError("questions need a terminal", hint="answer beforehand: --defaults -d key=value") from error
    except UnsafeTemplateError as error:
        raise ScaffolderError(
            f"the template {source} wants to run commands of its own", hint="use a template without tasks"
        ) from error
    except CopierError as error:
        raise ConfigError(f"the template {source} is not valid: {error}") from error
    except ValueError as error:
        problem = _first_line(error)
        is_answer = problem.startswith(("Validation error", "Invalid choice"))
        raise UsageError(
            problem if is_answer or "template" not in problem.lower() else f"{source}: {problem}"
        ) from error
    except OSError as error:
        raise EnvironmentFault(f"cannot generate: {error.strerror or error}") from error
    except Exception as error:
        # plumbum's ProcessExecutionError from git, and copier's own rarer ones, share no base class.
        raise ScaffolderError(
            f"cannot read the template {source}: {_first_line(error)}", hint="is it a git URL or a folder?"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "fatal" in line or "Stderr" in line), lines[0] if lines else repr(error))
