"""Train a tiny model's adapter for two steps in a process of its own, with so much memory beyond what it holds.

Run as `python stepdown_run.py MODEL BYTES KIND OUTPUT`; 0 bytes for no limit. The loss is a `sum` over the step's
tokens, or, as Olive has it, a `mean` over each pass's. Warnings go to standard output.
"""

import resource
import sys

from scaffolder.worker import stepdown

ROWS, LENGTH = 8, 1024


class Printer:
    def emit(self, event, **fields):
        sys.stdout.write(fields["message"] + "\n")


def main(folder, room, kind, output):
    import psutil
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments, set_seed

    torch.set_num_threads(1)
    set_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids = torch.randint(3, model.config.vocab_size, (ROWS * 4, LENGTH))
    # Rows count differently, so that a mean over each pass would show.
    labels = [row.where(torch.arange(LENGTH) % (2 + at % 3) == 0, -100) for at, row in enumerate(ids)]
    rows = [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]
    settings = TrainingArguments(
        output,
        per_device_train_batch_size=ROWS,
        gradient_accumulation_steps=2,
        max_steps=2,
        learning_rate=1e-2,
        optim="sgd",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    )
    stepdown.install(Printer())
    if room:
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + room, resource.RLIM_INFINITY))
    trainer = Trainer(model, settings, train_dataset=rows)
    trainer.model_accepts_loss_kwargs = kind == "sum"
    trainer.train()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    trained = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    save_file(trained, f"{output}/adapter.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
