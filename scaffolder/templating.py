"""The only importer of copier: render a template, in our terms."""

from __future__ import annotations

import contextlib
import functools
import warnings
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ConfigError, EnvironmentFault, Interrupted, ScaffolderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def render(
    source: str,
    destination: Path,
    *,
    answers: Mapping[str, Any],
    suggestions: Mapping[str, Any] | None = None,
    ref: str | None = None,
    defaults: bool = False,
) -> dict[str, Any]:
    """Generate a project and return every answer, the computed ones too.

    Args:
        source: The template, as copier takes it: a path, a git URL, a bundle.
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
    import copier

    with _our_errors(source), _each_text_compiled_once(), warnings.catch_warnings():
        # A working copy with changes is rendered as it is; its author knows.
        warnings.simplefilter("ignore")
        worker = copier.run_copy(
            source,
            destination,
            data=dict(answers),
            user_defaults=dict(suggestions or {}),
            vcs_ref=ref,
            defaults=defaults,
            quiet=True,
        )
        known = worker.template.questions_data
        given = dict(worker.answers.combined)
    unknown = sorted(set(answers) - set(known))
    if unknown:
        visible = [name for name, question in known.items() if question.get("when") is not False]
        raise UsageError(f"unknown question `{unknown[0]}`", hint=f"the template asks for: {', '.join(visible)}")
    return {name: given[name] for name in known if name in given}


@contextlib.contextmanager
def _each_text_compiled_once() -> Iterator[None]:
    """Copier compiles a question's texts anew at each look at them, which is most of a render's time."""
    from jinja2 import Environment

    compile_text = Environment.from_string
    Environment.from_string = functools.cache(compile_text)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Environment.from_string = compile_text  # type: ignore[method-assign]


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
        raise UsageError(f"{source}: {problem}" if "template" in problem.lower() else problem) from error
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
