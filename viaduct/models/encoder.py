"""Encoders: loaded through transformers or built from a configuration, and always called in the same way.

Shape letters: B sequences, L tokens, D width of the residual stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import forget_truncation
from viaduct.errors import UsageError
from viaduct.models.dropout import use_fast_dropout
from viaduct.models.linear import use_onednn
from viaduct.models.tokenizer_file import load_tokenizer as load_tokenizer
from viaduct.models.tokenizer_file import quieten
from viaduct.models.weights_check import first_line, require_whole
from viaduct.runs import families
from viaduct.runs.encoder import hub_options
from viaduct.runs.parts import Architecture

UNBOUNDED = 2**20
"""Longest input, in tokens, of an encoder whose positions are unlimited."""


def load_encoder(source: str, revision: str | None) -> nn.Module:
    """The encoder (no pooler, float32) in a local folder or under a Hub name at a revision.

    Raises UsageError, naming the source, if it is not an encoder that transformers can open without running code from
    its folder, or if its weights do not match its configuration: missing, too many, of another size, or not finite.
    """
    from transformers import AutoConfig

    quieten()
    options: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    asked = {**hub_options(source, revision), "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(source, **asked)
        model, info = auto_class(config).from_pretrained(source, config=config, **asked, **options)
    except Exception as error:  # transformers and its dependencies may raise anything on a user's files
        raise UsageError(
            f"'{source}' cannot be opened as an encoder: {first_line(error)}",
            fix="give a folder with config.json and model.safetensors, or a Hub name with its revision",
        ) from error
    require_whole(source, model, info)
    if hasattr(model, "pooler"):
        model.pooler = None  # not used by any head here; heads create their own
    if config.model_type in families.ENCODER_SIDES:  # one module instead of two with shared weights
        model.set_input_embeddings(model.get_input_embeddings())
    return use_fast_dropout(model if config.model_type in families.ADDS_IN_PLACE else use_onednn(model))


def auto_class(config: Any) -> Any:
    """The transformers class that opens an encoder with this configuration. For an encoder-decoder model, the
    configuration is changed to describe its encoder alone."""
    from transformers import AutoModel, AutoModelForTextEncoding

    if config.model_type not in families.ENCODER_SIDES:
        return AutoModel
    config.is_encoder_decoder = False
    return AutoModelForTextEncoding


def build_encoder(architecture: Architecture, vocabulary: int, pad_id: int) -> nn.Module:
    """A new XLM-R-shaped encoder with random weights (from torch's global seed).

    XLM-R's standard deviation of 0.02 goes with its width of 768; narrower layers get proportionally larger weights
    (0.02 sqrt(768 / width)), so that their initial outputs have the same size. Embeddings keep 0.02.
    """
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=architecture.hidden,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        intermediate_size=architecture.feed_forward,
        max_position_embeddings=architecture.max_length + pad_id + 1,
        hidden_dropout_prob=architecture.dropout,
        attention_probs_dropout_prob=architecture.dropout,
        pad_token_id=pad_id,
        bos_token_id=0,
        eos_token_id=2,
        layer_norm_eps=1e-5,
        type_vocab_size=1,
    )
    model: nn.Module = XLMRobertaModel(config, add_pooling_layer=False)
    return use_fast_dropout(use_onednn(model))


def encode_batch(encoder: nn.Module, batch: Batch) -> torch.Tensor:
    """hidden_BLD: the last layer's states. Positions are passed if the model would derive them from token ids."""
    hidden_BLD: torch.Tensor = encoder(**_inputs(encoder, batch)).last_hidden_state
    return hidden_BLD


def encode_layers(encoder: nn.Module, batch: Batch, layers: Sequence[int]) -> list[torch.Tensor]:
    """hidden_BLD of each of these layers (0 = embeddings), from one pass."""
    last = num_layers(encoder)
    if tuple(layers) == (last,):
        return [encode_batch(encoder, batch)]
    output = encoder(**_inputs(encoder, batch), output_hidden_states=True)
    return [output.last_hidden_state if layer == last else output.hidden_states[layer] for layer in layers]


def _inputs(encoder: nn.Module, batch: Batch) -> dict[str, Any]:
    config: Any = encoder.config
    mask_BL = batch.mask_BL
    if mask_BL is None and config.model_type in families.MASK_FROM_IDS:
        mask_BL = torch.ones_like(batch.ids_BL)
    # Some architectures do arithmetic with the mask and cannot do it with a boolean one.
    inputs: dict[str, Any] = {"input_ids": batch.ids_BL, "attention_mask": None if mask_BL is None else mask_BL.long()}
    if mask_BL is not None and mask_BL.device.type != "cpu" and config.model_type in families.WHOLE_MASKS:
        # Given one mask per sequence, transformers checks whether anything is padded, which waits for the device.
        inputs["attention_mask"] = mask_BL[:, None, None, :].expand(-1, 1, mask_BL.shape[1], -1)
    if config.model_type in families.OFFSET_POSITIONS:
        first = families.first_position(config.model_type, config.pad_token_id)
        inputs["position_ids"] = torch.arange(first, first + batch.ids_BL.shape[1], device=batch.ids_BL.device)[None, :]
        if getattr(config, "type_vocab_size", 0):
            # Without this the model derives positions, and in some versions a mask, from padding ids.
            inputs["token_type_ids"] = torch.zeros_like(batch.ids_BL)
    elif batch.types_BL is not None and has_segments(encoder):
        inputs["token_type_ids"] = batch.types_BL
    return inputs


def has_segments(encoder: nn.Module) -> bool:
    """Whether the encoder is given which of two texts a token belongs to, judging by its architecture and sizes."""
    config: Any = encoder.config
    return config.model_type not in families.OFFSET_POSITIONS and getattr(config, "type_vocab_size", 0) > 1


def longest_input(encoder: nn.Module) -> int:
    """The most tokens a sequence may have, from the configuration; `UNBOUNDED` if positions are only relative."""
    config = sizes(encoder)
    longest = int(getattr(config, "max_position_embeddings", UNBOUNDED))
    return longest - families.first_position(config.model_type, config.pad_token_id)


def sizes(encoder: nn.Module) -> Any:
    """The part of the encoder's configuration that has its sizes."""
    config: Any = encoder.config
    return getattr(config, "encoder", config)


def width(encoder: nn.Module) -> int:
    """D, the size of a token's state."""
    return int(sizes(encoder).hidden_size)


def word_embeddings(encoder: nn.Module) -> torch.Tensor:
    """(V, D): the parameter with a row for each token id."""
    weight: torch.Tensor = encoder.get_input_embeddings().weight  # type: ignore[operator]
    return weight


def dropout(encoder: nn.Module) -> float:
    """The dropout rate that heads share with the encoder; 0.1 if the architecture does not name one."""
    return float(getattr(encoder.config, "hidden_dropout_prob", 0.1))


def num_layers(encoder: nn.Module) -> int:
    """The number of layers above the embeddings."""
    return int(sizes(encoder).num_hidden_layers)


def forward_flops(encoder: nn.Module, lengths_sum: int, squares_sum: int) -> float:
    """Floating-point operations of one forward pass over sequences with this sum of lengths and of squared lengths.

    Two per weight and token outside the embeddings, plus 4 d n^2 per layer for attention (reference: Kaplan et al.
    2020, arXiv 2001.08361, table 1, without the embedding).
    """
    whole: Any = encoder
    embeddings = sum(module.weight.numel() for module in encoder.modules() if isinstance(module, nn.Embedding))
    weights = sum(parameter.numel() for parameter in encoder.parameters()) - embeddings
    groups = getattr(whole.config, "num_hidden_groups", None)
    if groups is not None:  # several layers share the same weights
        shared = sum(parameter.numel() for parameter in whole.encoder.albert_layer_groups.parameters())
        weights += round(shared * (num_layers(encoder) / groups - 1))
    return 2.0 * weights * lengths_sum + 4.0 * width(encoder) * num_layers(encoder) * squares_sum


def save_encoder(encoder: nn.Module, tokenizer: Any, folder: Path, *, half: bool = False) -> None:
    """Write a folder that `AutoModel.from_pretrained` and `AutoTokenizer.from_pretrained` open; safetensors only."""
    state = {
        name: tensor.half() if half and tensor.is_floating_point() else tensor
        for name, tensor in encoder.state_dict().items()
    }
    quieten()
    config: Any = encoder.config
    kept = config.dtype
    config.dtype = torch.float16 if half else torch.float32
    encoder.save_pretrained(folder, state_dict=state)  # type: ignore[operator]
    config.dtype = kept
    forget_truncation(tokenizer)  # otherwise the files would record the truncation length used last
    tokenizer.save_pretrained(folder)
