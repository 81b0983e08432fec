"""Answer one question with the exported model: `python inferences/app.py "What should I see in Rome?"`."""

import json
import sys
from pathlib import Path

import onnxruntime_genai as og

MODEL = Path(__file__).parent.parent / "gen-model" / "quantised-adapters"
SYSTEM = ""
TURN = "{question}"  # how the examples write a question
MAX_NEW_TOKENS = 128

question = " ".join(sys.argv[1:]) or "What is the best thing to see in Chicago?"

model = og.Model(str(MODEL))
tokenizer = og.Tokenizer(model)
messages = [{"role": "system", "content": SYSTEM}] if SYSTEM else []
messages.append({"role": "user", "content": TURN.replace("{question}", question)})
prompt = tokenizer.encode(tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True))

params = og.GeneratorParams(model)
# Without max_length, memory for the model's whole context is reserved.
params.set_search_options(max_length=len(prompt) + MAX_NEW_TOKENS, do_sample=False)
generator = og.Generator(model, params)
adapter = MODEL / "adapter_weights.onnx_adapter"
if adapter.is_file():  # the export left the adapter apart
    adapters = og.Adapters(model)
    adapters.load(str(adapter), "tuned")
    generator.set_active_adapter(adapters, "tuned")
generator.append_tokens(prompt)

print(question)
stream = tokenizer.create_stream()
while not generator.is_done():
    generator.generate_next_token()
    print(stream.decode(generator.get_next_tokens()[0]), end="", flush=True)
print()
