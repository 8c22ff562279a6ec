"""transformers' `Trainer` on the rows of the training benchmark, with its defaults."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from training_rows import FIRST, LAST, NO_TAG, PAD, SHAPES, UNKNOWN, Rows, Shape, Work
from training_timing import LEARNING_RATE, Clock, Request, Timed


def run(request: Request, rows: Rows) -> Timed:
    """Run the Trainer's steps as one of the variants."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.set_num_threads(request.threads)
    torch.manual_seed(request.seed)
    shape, work, on_cpu = SHAPES[request.shape], request.rows, request.device == "cpu"
    padded = request.variant == "trainer_default"
    dataset = Features(work, rows, work.longest if padded else None)
    plain = _collator(work, padded)
    batches: list[np.ndarray] = []
    slots: list[int] = []

    def collate(features: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = plain(features)
        mask = batch["attention_mask"]
        batches.append(mask.sum(dim=1).numpy())
        slots.append(mask.numel())
        return batch

    order = _order(request, work, rows.lengths.tolist())

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return order

    clock = Clock(request.steps + request.warm_up, request.warm_up, request.device)

    class Timing(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            clock.step_done(state.global_step)

    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=work.batch_rows,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            use_cpu=on_cpu,
            bf16=request.format == "bf16",
            fp16=request.format == "fp16",
            dataloader_num_workers=0,
            dataloader_pin_memory=not on_cpu,
            disable_tqdm=True,
            seed=request.seed,
            train_sampling_strategy="group_by_length" if request.variant == "length_grouped" else "random",
        )
        model = _model(work, shape)
        trainer = InOrder(
            model=model, args=arguments, train_dataset=dataset, data_collator=collate, callbacks=[Timing()]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.timed(batches, slots, shape.vocabulary)


def _model(work: Work, shape: Shape) -> Any:
    """transformers' own model for this kind of work, with random weights."""
    import transformers

    config = model_config(shape, len(work.labels) or 2)
    if work.kind == "pair":
        return transformers.XLMRobertaForSequenceClassification(config)
    if work.kind == "tagged":
        return transformers.XLMRobertaForTokenClassification(config)
    return transformers.XLMRobertaForQuestionAnswering(config)


def _collator(work: Work, padded: bool) -> Any:
    from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding, default_data_collator

    if padded:
        return default_data_collator
    if work.kind == "tagged":
        return DataCollatorForTokenClassification(_padding_tokenizer(), label_pad_token_id=NO_TAG)
    return DataCollatorWithPadding(_padding_tokenizer())


def _order(request: Request, work: Work, lengths: list[int]) -> list[int]:
    """Row indices of as many batches as requested, drawn from one epoch over the whole set as this variant's stock
    sampler orders it. They are drawn because sorted batches come in order of length there."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(request.seed)
    if request.variant == "length_grouped":
        epoch = get_length_grouped_indices(lengths, work.batch_rows, generator=generator)
    else:
        epoch = torch.randperm(len(lengths), generator=generator).tolist()
    drawn = torch.randperm(len(lengths) // work.batch_rows, generator=generator)[
        : request.steps + request.warm_up
    ].tolist()
    return [index for batch in drawn for index in epoch[batch * work.batch_rows : (batch + 1) * work.batch_rows]]


class Features:
    """The rows in the form that the Trainer expects, padded beforehand to `longest` if that is given."""

    def __init__(self, work: Work, rows: Rows, longest: int | None) -> None:
        self.work, self.rows, self.longest = work, rows, longest

    def __len__(self) -> int:
        return len(self.rows.ids)

    def __getitem__(self, at: int) -> dict[str, Any]:
        ids, target = self.rows.ids[at], self.rows.targets[at]
        return _feature(self.work, ids, target, self.longest or len(ids))


def _feature(work: Work, ids: np.ndarray, target: np.ndarray, longest: int) -> dict[str, Any]:
    padding = longest - len(ids)
    feature: dict[str, Any] = {
        "input_ids": ids.tolist() + [PAD] * padding,
        "attention_mask": [1] * len(ids) + [0] * padding,
    }
    if work.kind == "pair":
        return {**feature, "labels": int(target[0])}
    if work.kind == "tagged":
        return {**feature, "labels": target.tolist() + [NO_TAG] * padding}
    return {**feature, "start_positions": int(target[0]), "end_positions": int(target[1])}


def model_config(shape: Shape, labels: int = 3) -> Any:
    """The configuration that viaduct.models.encoder.build_encoder makes from the same dimensions, with a head for this
    many labels."""
    from transformers import XLMRobertaConfig

    return XLMRobertaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=512 + PAD + 1,
        pad_token_id=PAD,
        bos_token_id=FIRST,
        eos_token_id=LAST,
        layer_norm_eps=1e-5,
        type_vocab_size=1,
        num_labels=labels,
    )


def _padding_tokenizer() -> Any:
    """A tokenizer that is only used for padding."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {"<s>": FIRST, "<pad>": PAD, "</s>": LAST, "<unk>": UNKNOWN}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")), pad_token="<pad>", unk_token="<unk>"
    )
