"""A tokenizer made from texts: word pieces as BERT has them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tasks.trainer.classifier.encoder import EncoderConfig

PAD, UNKNOWN, BEGIN, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Their ids are their places."""
INSIDE = "##"
"""In front of pieces that do not begin a word."""


def train_tokenizer(texts: Sequence[str], config: EncoderConfig) -> Any:
    """A tokenizer whose pieces are the most frequent in the texts; the same texts give the same one."""
    raw = _tokenizer(models.WordPiece(_pieces(texts, config), unk_token=UNKNOWN), config)
    raw.add_special_tokens(list(SPECIAL))
    raw.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}",
        pair=f"{BEGIN} $A {END} $B:1 {END}:1",
        special_tokens=[(token, SPECIAL.index(token)) for token in (BEGIN, END)],
    )
    wrap: Any = PreTrainedTokenizerFast  # its constructor has no annotations
    return wrap(
        tokenizer_object=raw,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=BEGIN,
        sep_token=END,
        mask_token=MASK,
        model_max_length=config.max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def _tokenizer(model: Any, config: EncoderConfig) -> Any:
    raw = Tokenizer(model)
    # An address is one word: its letters are many pieces, and in few texts say nothing.
    addresses = normalizers.Replace(Regex(r"https?://\S+"), " http ")
    raw.normalizer = normalizers.Sequence([addresses, normalizers.BertNormalizer(lowercase=config.lowercase)])
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return raw


def _pieces(texts: Sequence[str], config: EncoderConfig) -> dict[str, int]:
    """The word pieces with their ids.

    The trainer numbers letters inside of words as it happens to meet them, and ties between pieces are decided by
    number: other pieces each time. As special tokens they have numbers before it begins; here they are special no more.
    """
    raw = _tokenizer(models.WordPiece(unk_token=UNKNOWN), config)
    inside = {
        letter
        for text in texts
        for word, _ in raw.pre_tokenizer.pre_tokenize_str(raw.normalizer.normalize_str(text))
        for letter in word[1:]
    }
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.vocabulary,
        min_frequency=config.min_frequency,
        special_tokens=[*SPECIAL, *(f"{INSIDE}{letter}" for letter in sorted(inside))],
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    pieces: dict[str, int] = raw.get_vocab(with_added_tokens=False)
    return dict(sorted(pieces.items(), key=lambda piece: piece[1]))


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    # The class has this name in transformers 4, too.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
