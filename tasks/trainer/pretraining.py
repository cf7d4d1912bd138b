"""Make a tiny base model from dialogues: a byte-level tokenizer and a Llama of about a million parameters.

    python -m tasks.trainer.pretraining OUT_DIR TEXTS.jsonl [--steps 1000]

Each line of TEXTS.jsonl is `{"messages": [{"role", "content"}, ...]}`, rendered with the plain template. The
folder loads like any Hub model; weights are stored in float16 to be small, so load them with `dtype="float32"`.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
WARMUP_STEPS = 50
LOG_EVERY_STEPS = 100


@dataclass(frozen=True)
class Pretraining:
    """How long and how hard to train."""

    steps: int = 1000
    batch_rows: int = 48
    learning_rate: float = 3e-3
    vocabulary: int = 1024
    max_tokens: int = 512
    seed: int = 0


def read_messages(path: Path) -> list[list[dict[str, str]]]:
    """One conversation a line."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["messages"] for line in lines]


def train_tokenizer(texts: list[str], vocabulary: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE without chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    specials = [PAD, BOS, EOS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers leaves it untyped
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=max_tokens
    )


def tiny_llama(tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> LlamaForCausalLM:
    """Four layers of width 128 with tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=max_tokens,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batches(rows: list[list[int]], settings: Pretraining, generator: torch.Generator) -> Iterator[list[list[int]]]:
    """Endless shuffled batches of rows of like length, so that little is padded, one for each step."""
    made = 0
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        order.sort(key=lambda row: len(rows[row]) // 8)
        starts = range(0, len(order), settings.batch_rows)
        for at in torch.randperm(len(starts), generator=generator).tolist():
            if made == settings.steps:
                return
            yield [rows[row] for row in order[starts[at] : starts[at] + settings.batch_rows]]
            made += 1


def padded(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask and labels of one batch, each (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask, ids.masked_fill(mask == 0, -100)


def rate_at(step: int, settings: Pretraining) -> float:
    """Linear warm-up, then a half cosine down to a twentieth of the peak."""
    if step < WARMUP_STEPS:
        return settings.learning_rate * (step + 1) / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / max(1, settings.steps - WARMUP_STEPS)
    return settings.learning_rate * (0.05 + 0.475 * (1 + math.cos(math.pi * done)))


def train(model: LlamaForCausalLM, rows: list[list[int]], pad: int, settings: Pretraining) -> float:
    """Plain AdamW on every token; returns the mean loss of the last steps, in nats a token."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.05)
    generator = torch.Generator().manual_seed(settings.seed)
    losses: list[float] = []
    for step, batch in enumerate(batches(rows, settings, generator)):
        ids, mask, labels = padded(batch, pad)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, settings)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % LOG_EVERY_STEPS == 0:
            print(f"step {step + 1} of {settings.steps}: loss {sum(losses[-50:]) / len(losses[-50:]):.3f}", flush=True)
    return sum(losses[-50:]) / len(losses[-50:])


def pretrain(out: Path, texts: Path, settings: Pretraining) -> float:
    """Train and write tokenizer, config and float16 weights to `out`; returns the last loss."""
    torch.manual_seed(settings.seed)
    conversations = read_messages(texts)
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(PLAIN_TEMPLATE)
    plain = [template.render(messages=conversation, bos_token="", eos_token="") for conversation in conversations]
    rendered = [template.render(messages=conversation, bos_token=BOS, eos_token=EOS) for conversation in conversations]
    tokenizer = train_tokenizer(plain, settings.vocabulary, settings.max_tokens)
    rows = [ids[: settings.max_tokens] for ids in tokenizer(rendered, add_special_tokens=False)["input_ids"]]
    model = tiny_llama(tokenizer, settings.max_tokens)
    print(f"{len(rows)} rows, {sum(map(len, rows))} tokens, {model.num_parameters()} parameters", flush=True)
    loss = train(model, rows, tokenizer.pad_token_id, settings)
    model.half().save_pretrained(out)  # type: ignore[no-untyped-call] # transformers leaves it untyped
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(out)
    return loss


def main() -> None:
    """The command line."""
    defaults = Pretraining()
    parser = argparse.ArgumentParser(description="Make a tiny base model from dialogues.")
    parser.add_argument("out", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--batch-rows", type=int, default=defaults.batch_rows)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--vocabulary", type=int, default=defaults.vocabulary)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    options = parser.parse_args()
    settings = Pretraining(
        steps=options.steps,
        batch_rows=options.batch_rows,
        learning_rate=options.learning_rate,
        vocabulary=options.vocabulary,
        seed=options.seed,
    )
    started = time.monotonic()
    loss = pretrain(options.out, options.texts, settings)
    print(f"loss {loss:.3f} after {settings.steps} steps and {time.monotonic() - started:.0f} seconds: {options.out}")


if __name__ == "__main__":
    main()
