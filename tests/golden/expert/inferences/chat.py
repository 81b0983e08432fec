"""Talk with the exported model in the terminal: `python inferences/chat.py [MODEL FOLDER]`; /help lists the commands."""

import json
import sys
import time
from pathlib import Path

import onnxruntime
import onnxruntime_genai as og

MODEL = Path(__file__).parent.parent / "gen-model" / "onnx-int4"
SYSTEM = "Answer briefly."
TURN = "Translate: {question}"  # how the examples write a question
MAX_NEW_TOKENS = 512
HELP = """\
/system TEXT   another system message, and a new conversation
/adapter NAME  answer with that adapter (a name or a file); base: with none; alone: list them
/reset         a new conversation
/save FILE     add the conversation to a JSON Lines file, as an example to train on
/quit          end"""


class Chat:
    """A model, one of its adapters, and the conversation so far."""

    def __init__(self, folder):
        self.folder = folder
        onnxruntime.preload_dlls()  # CUDA's libraries, which came as packages
        self.model = og.Model(str(folder))
        self.tokenizer = og.Tokenizer(self.model)
        self.context = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]["context_length"]
        self.adapters, self.loaded, self.adapter = og.Adapters(self.model), set(), None
        self.system = SYSTEM
        self.reset()
        if self.files():
            self.use(next(iter(self.files())))

    def reset(self):
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def files(self):
        """Return the adapters that lie beside the model, by name."""
        return {path.stem: path for path in sorted(self.folder.glob("*.onnx_adapter"))}

    def use(self, name):
        """Answer with an adapter by name or file, or with none."""
        path = None if name == "base" else self.files().get(name, Path(name))
        if path and not path.is_file():
            return f"no adapter {name}; there are: {', '.join(['base', *self.files()])}"
        if path and str(path) not in self.loaded:
            self.adapters.load(str(path), str(path))
            self.loaded.add(str(path))
        self.adapter = path and str(path)
        return f"answers with {name}"

    def ask(self, question):
        """Print the answer as it comes; return a line of figures."""
        message = {"role": "user", "content": TURN.replace("{question}", question)}
        text = self.tokenizer.apply_chat_template(json.dumps([*self.messages, message]), add_generation_prompt=True)
        prompt = self.tokenizer.encode(text)
        if len(prompt) >= self.context:
            return f"the conversation would have {len(prompt)} tokens, the model takes {self.context}: /reset"
        params = og.GeneratorParams(self.model)
        # Without max_length, memory for the model's whole context is reserved.
        params.set_search_options(max_length=min(len(prompt) + MAX_NEW_TOKENS, self.context), do_sample=False)
        generator = og.Generator(self.model, params)
        if self.adapter:
            generator.set_active_adapter(self.adapters, self.adapter)
        started = time.perf_counter()
        generator.append_tokens(prompt)
        read = time.perf_counter()
        answer, tokens = self.answer(generator)
        wrote = time.perf_counter()
        self.messages += [message, {"role": "assistant", "content": answer}]
        figures = f"read {len(prompt)} tokens at {len(prompt) / (read - started):.0f}/s, "
        figures += f"wrote {tokens} at {tokens / (wrote - read):.0f}/s"
        end = len(prompt) + tokens
        return figures + (f"; the context of {self.context} tokens is full: /reset" if end >= self.context else "")

    def answer(self, generator):
        """Print tokens until the end or Ctrl-C; return their text and number."""
        stream, pieces = self.tokenizer.create_stream(), []
        try:
            while not generator.is_done():
                generator.generate_next_token()
                pieces.append(stream.decode(generator.get_next_tokens()[0]))
                print(pieces[-1], end="", flush=True)
        except KeyboardInterrupt:
            pass
        print()
        return "".join(pieces).strip(), len(pieces)

    def command(self, line):
        """Do what a line with a slash says; return what to tell."""
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name == "/reset":
            self.reset()
            return "a new conversation"
        if name == "/system":
            self.system = rest
            self.reset()
            return f"a new conversation, system message: {rest or 'none'}"
        if name == "/adapter":
            return self.use(rest) if rest else ", ".join(["base", *self.files()])
        if name == "/save" and rest:
            with Path(rest).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"messages": self.messages}, ensure_ascii=False) + "\n")
            return f"{len(self.messages)} messages added to {rest}"
        return HELP


def main():
    chat = Chat(Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL)
    print(f"{chat.folder.name}, {chat.context} tokens of context; /help lists the commands")
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line == "/quit":
            return
        if line:
            try:
                print(f"[{chat.command(line) if line.startswith('/') else chat.ask(line)}]")
            except (OSError, RuntimeError) as error:  # an unwritable file, an adapter of another model
                print(f"[{error}]")


if __name__ == "__main__":
    main()
