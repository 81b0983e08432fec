"""`scaffolder chat`."""

from __future__ import annotations

import dataclasses
import difflib
import json as encoder
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder.cli.options import (
    AdapterName,
    Json,
    MaxNewTokens,
    ModelName,
    Quiet,
    Seed,
    System,
    Temperature,
    TopK,
    TopP,
)
from scaffolder.cli.output import Output, time_text
from scaffolder.errors import ScaffolderError, UsageError

if TYPE_CHECKING:
    from scaffolder.inference import Message, Sampling, Session
    from scaffolder.project import Project

_HELP = """\
/adapter NAME   answer with this adapter; none: as the base; alone: which there are
/reset          forget the conversation
/save FILE      append the conversation to a file as a line of JSON, as in datasets/
/help           this list
/quit           end (so does Ctrl-D); Ctrl-C ends the answer that is being written"""


def chat(
    model: ModelName = None,
    adapter: AdapterName = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 50,
    seed: Seed = 0,
    system: System = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Talk with the model in the terminal; it remembers what was said."""
    from scaffolder import inference
    from scaffolder.project import find_project

    output = Output(json=json, quiet=quiet)
    project = find_project()
    artefact = inference.choose(project, model, adapter)
    sampling = inference.Sampling(max_new_tokens, temperature, top_p, top_k, seed)
    with inference.Session(project, artefact) as session:
        output.say(f"{artefact.path.name}: /help lists commands")
        _Chat(output, project, session, sampling, system).run()


class _Chat:
    """A conversation and the commands that act on it."""

    def __init__(
        self, output: Output, project: Project, session: Session, sampling: Sampling, system: str | None
    ) -> None:
        self._output = output
        self._project = project
        self._session = session
        self._sampling = sampling
        self._system = system
        self._said: list[Message] = []
        self._commands: dict[str, Callable[[str], None]] = {
            "/adapter": self._adapter,
            "/reset": self._reset,
            "/save": self._save,
            "/help": lambda _argument: output.say(_HELP),
        }

    def run(self) -> None:
        """Answer until the input ends."""
        for line in self._lines():
            command, _, argument = line.partition(" ")
            if command in ("/quit", "/exit"):
                return
            try:
                if command.startswith("/"):
                    self._named(command)(argument.strip())
                else:
                    self._answer(line)
            except ScaffolderError as error:
                if not sys.stdin.isatty():
                    raise
                self._output.error(error)

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                line = self._output.ask("> ").strip()
            except (EOFError, KeyboardInterrupt):
                return
            if line:
                yield line

    def _named(self, command: str) -> Callable[[str], None]:
        if command in self._commands:
            return self._commands[command]
        near = difflib.get_close_matches(command, self._commands, n=1)
        raise UsageError(f"unknown command `{command}`", hint=f"did you mean `{near[0]}`?" if near else "/help")

    def _answer(self, question: str) -> None:
        from scaffolder import inference

        asked = [*self._said, {"role": "user", "content": self._project.manifest.dataset.question(question)}]
        messages = inference.conversation(self._project, asked, system=self._system)
        try:
            answer = self._session.answer(
                messages,
                self._sampling,
                lambda text: None if self._output.json else self._output.stream(text),
                pause=self._output.pause,
            )
        except inference.Refused as error:
            raise inference.Refused(error.message, hint=f"{error.hint}, or /reset") from error
        self._said = [*asked, {"role": "assistant", "content": answer.text}]
        if self._output.json:
            self._output.line(encoder.dumps({"prompt": question, **dataclasses.asdict(answer)}, ensure_ascii=False))
        else:
            self._output.line("")
        self._output.say(
            f"({answer.tokens} tokens, {answer.tokens_per_second:.0f} tokens/s, "
            f"{answer.prompt_tokens} read in {time_text(answer.first_token_seconds)})"
        )

    def _adapter(self, name: str) -> None:
        from scaffolder.artefacts import NO_ADAPTER

        if name:
            self._session.use(None if name == NO_ADAPTER else name)
        known = ", ".join((*self._session.adapters, NO_ADAPTER))
        self._output.say(f"adapter: {self._session.adapter or NO_ADAPTER}" + ("" if name else f"; there are: {known}"))

    def _reset(self, _argument: str) -> None:
        self._said = []
        self._output.say("forgotten")

    def _save(self, name: str) -> None:
        if not name or not self._said:
            raise UsageError("nothing to save yet" if name else "/save needs a file's name")
        row = {"messages": self._said}
        try:
            with Path(name).expanduser().open("a", encoding="utf-8") as file:
                file.write(encoder.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {name}: {error.strerror}") from error
        self._output.say(f"saved: {name}")
