"""Answer a question with the exported model: `python inferences/app.py "What should I see in Rome?"`.

Needs `inferences/requirements.txt` alone. An export with adapters as inputs holds several in its folder:
`--adapter NAME` chooses one, `--adapter none` answers as the base model.
"""

import argparse
import json
from pathlib import Path

import onnxruntime
import onnxruntime_genai as og

ROOT = Path(__file__).resolve().parent.parent
SYSTEM = ""
TURN = "{question}"  # how the examples write a question
OWN = "adapter_weights"  # the adapter that the export was made with

parser = argparse.ArgumentParser()
parser.add_argument("question", nargs="*", default=["What is the best thing to see in Chicago?"])
parser.add_argument("--model", type=Path, default=ROOT / "gen-model" / "onnx-int4")
parser.add_argument("--adapter", default=OWN)
parser.add_argument("--max-new-tokens", type=int, default=128)
arguments = parser.parse_args()
question = " ".join(arguments.question)

onnxruntime.preload_dlls()  # CUDA's libraries, which came as packages
model = og.Model(str(arguments.model))
tokenizer = og.Tokenizer(model)
files = {path.stem: path for path in arguments.model.glob("*.onnx_adapter")}
adapters = og.Adapters(model)
for name, path in files.items():
    adapters.load(str(path), name)
if arguments.adapter not in (*files, OWN, "none"):
    parser.error(f"no adapter {arguments.adapter}; there are: {', '.join(sorted(files)) or 'none'}")

messages = [{"role": "system", "content": SYSTEM}] if SYSTEM else []
messages.append({"role": "user", "content": TURN.replace("{question}", question)})
prompt = tokenizer.encode(tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True))

params = og.GeneratorParams(model)
# Without max_length, memory for the model's whole context is reserved.
params.set_search_options(max_length=len(prompt) + arguments.max_new_tokens, do_sample=False)
generator = og.Generator(model, params)
if arguments.adapter in files:
    generator.set_active_adapter(adapters, arguments.adapter)
generator.append_tokens(prompt)

print(question)
stream = tokenizer.create_stream()
while not generator.is_done():
    generator.generate_next_token()
    print(stream.decode(generator.get_next_tokens()[0]), end="", flush=True)
print()
