"""`scaffolder data check` against `datasets.load_dataset` with a tokenising pass, and its memory as files grow.

    python benchmarks/data_check.py MODEL_FOLDER [ROWS] [GIGABYTES]

MODEL_FOLDER holds a tokenizer with a chat template. Both ways read the same 50,000 rows in turn, three times, each in a
fresh process, and count every row's tokens; the medians of wall and processor time and their ratios are printed. The
check also finds repeats, overlap, secrets and the rest meanwhile. Then the check alone reads 10,000 and ROWS
(1,000,000 where left out) rows, and GIGABYTES (2 where left out) of rows of 1 to 2 kB: seconds, rows a second and the
peak of resident memory of each. Uses a temporary folder with about 1.5 kB of space a row, and GIGABYTES more.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMPARED, SMALL = 50_000, 10_000
# Words of the rows of 1 to 2 kB, and their mean size in bytes.
LONG, LONG_ROW = (105, 215), 1470
WORKER = Path(__file__).parent.parent / "scaffolder" / "worker"
SAMPLE = Path(__file__).parent.parent / "template" / "datasets" / "train.jsonl"
PLAIN = """
import sys, resource
from datasets import load_dataset
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
data = load_dataset("json", data_files=sys.argv[2], split="train", cache_dir=sys.argv[3])
def count(rows):
    texts = [p + r for p, r in zip(rows["prompt"], rows["response"])]
    return {"tokens": [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]}
data = data.map(count, batched=True)
print(sum(data["tokens"]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def main() -> None:
    model = Path(sys.argv[1]).resolve()
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    gigabytes = float(sys.argv[3]) if len(sys.argv) > 3 else 2.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compared, small, large, wide = (folder / f"{kind}.jsonl" for kind in ("compared", "small", "large", "wide"))
        for path, count in ((compared, COMPARED), (small, SMALL), (large, rows)):
            write_rows(path, count)
        compare(model, compared, folder)
        wide_rows = int(gigabytes * 1e9 / LONG_ROW)
        write_rows(wide, wide_rows, words=LONG)
        for path, count in ((small, SMALL), (large, rows), (wide, wide_rows)):
            wall, processor, peak = check(model, path, folder, every_token=False)
            print(
                f"check of {count:>9,} rows ({path.stat().st_size / 1e6:6.0f} MB)  {wall:7.1f} s wall  "
                f"{processor:7.1f} s processor  {count / wall:9,.0f} rows/s  peak {peak / 1e6:5.0f} MB"
            )


def write_rows(path: Path, count: int, words: tuple[int, int] = (20, 90)) -> None:
    """Write rows of so many words of the sample data, hardly two alike; about 500 bytes each where nothing is said."""
    draw = random.Random(1)
    known = list({word for line in SAMPLE.read_text(encoding="utf-8").splitlines() for word in line.split()[3:-1]})
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(known))))
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(count):
            text = " ".join(draw.choices(known, cum_weights=weights, k=draw.randint(*words)))
            asked, _, said = text.partition(" ")
            stream.write(json.dumps({"prompt": f"{asked} {draw.random()}?", "response": said}) + "\n")


def compare(model: Path, path: Path, folder: Path) -> None:
    """Print the medians of both ways, which take turns."""
    ours, plain = [], []
    for turn in range(3):
        ours.append(check(model, path, folder, every_token=True))
        command = [sys.executable, "-c", PLAIN, str(model), str(path), str(folder / f"cache-{turn}")]
        plain.append(timed(command, ""))
    for name, values in (("data check, all tokens", ours), ("load_dataset, map", plain)):
        wall, processor, peak = (statistics.median(column) for column in zip(*values, strict=True))
        print(
            f"{name:<24} {COMPARED / wall:9,.0f} rows/s  {wall:6.1f} s wall  {processor:6.1f} s processor  "
            f"peak {peak / 1e6:5.0f} MB"
        )
    walls, processors = (statistics.median(v[i] for v in plain) / statistics.median(v[i] for v in ours) for i in (0, 1))
    print(f"check is {walls:.2f} times as fast by the clock, {processors:.2f} times by processor time")


def check(model: Path, path: Path, folder: Path, *, every_token: bool) -> tuple[float, float, float]:
    """Run the check in a worker; return wall seconds, processor seconds and peak bytes."""
    spec = {"path": str(path), "prompt_column": "prompt", "response_column": "response", "max_seq_len": 512}
    job = {"task": "data check", "root": str(folder), "files": [spec], "model": str(model), "all_tokens": every_token}
    return timed([sys.executable, str(WORKER)], json.dumps({**job, "temporary": str(folder / "tmp")}) + "\n")


def timed(command: list[str], job: str) -> tuple[float, float, float]:
    """Run a command to its end; its last word, or the field `peak_memory` of its report, is the peak in bytes."""
    quiet = {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "PYTHONUTF8": "1"}
    started, before = time.perf_counter(), os.times()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, **quiet},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        # The worker ends when its input does: it stays open while there is output.
        process.stdin.write(job)
        process.stdin.flush()
        output = process.stdout.read().strip().splitlines()
    if process.returncode != 0:
        sys.exit(f"{command[1][:40]} failed: {output[-1:]}")
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    reports = [json.loads(line) for line in output if '"checked"' in line]
    peak = reports[0]["peak_memory"] if reports else float(output[-1].split()[1])
    return time.perf_counter() - started, processor, peak


if __name__ == "__main__":
    main()
