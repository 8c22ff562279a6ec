"""README.md of an exported model: what it is, where it comes from, what was measured, and how to run it without
Viaduct. What is not known is said to be not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

OPENING: Mapping[str, str] = {
    "onnx": """\
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])


def run(inputs):
    return session.run(["{output}"], inputs)[0]
""",
    "openvino": """\
import json

import numpy as np
import openvino
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
hint = {{"INFERENCE_PRECISION_HINT": "{hint}"}}
model = openvino.Core().compile_model("openvino_model.xml", "CPU", hint)


def run(inputs):
    return model(inputs)["{output}"]
""",
}

BATCHING = """

tokenizer.enable_truncation({longest})
tokenizer.enable_padding(pad_id={pad_id}, pad_token="{pad_token}")


def inputs_of(encodings):
    return {{
{inputs}
    }}

"""

FIELDS: Mapping[str, str] = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Input of the model -> attribute of an encoding of the tokenizers package."""

USES: Mapping[str | None, str] = {
    "pair": """
labels = json.load(open("config.json"))["id2label"]
pairs = [("A boat is on the river.", "There is a boat."), ("The house is small.", "It is green.")]
logits = run(inputs_of(tokenizer.encode_batch(pairs)))
print([labels[str(best)] for best in logits.argmax(axis=1)])""",
    "choice": """
context, question = "The river froze.", "What was the cause?"
choices = ["It was winter.", "The boat was yellow."]
logits = run(inputs_of(tokenizer.encode_batch([(context, f"{question} {choice}") for choice in choices])))
print(choices[logits[:, 0].argmax()])""",
    "tagged": """
labels = json.load(open("config.json"))["id2label"]
words = ["The", "green", "boat", "is", "small", "."]
encoding = tokenizer.encode(words, is_pretokenized=True)
logits = run(inputs_of([encoding]))
places = [encoding.word_ids.index(word) for word in range(len(words))]  # the first piece of each word
print([labels[str(best)] for best in logits[0, places].argmax(axis=1)])""",
    "span": """
question, context = "Where is the boat?", "The house is small. The boat is on the river."
encoding = tokenizer.encode(question, context)
logits = run(inputs_of([encoding]))
inside = [at for at, side in enumerate(encoding.sequence_ids) if side == 1]
spans = [(first, last) for first in inside for last in inside if first <= last < first + 30]
first, last = max(spans, key=lambda span: logits[0, span[0], 0] + logits[0, span[1], 1])
print(context[encoding.offsets[first][0] : encoding.offsets[last][1]].strip())""",
    None: """
sentences = ["A boat is on the river.", "The house is small."]
inputs = inputs_of(tokenizer.encode_batch(sentences))
hidden = run(inputs)
mask = inputs["attention_mask"][..., None]
vectors = (hidden * mask).sum(axis=1) / mask.sum(axis=1)  # the mean over real tokens
print((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ vectors.T)""",
}
"""Kind of head -> how to get from text to its answer."""

WHAT: Mapping[str | None, str] = {
    "pair": "A classifier of pairs of texts",
    "choice": "A scorer of endings: the highest logit of an example's sequences is its answer",
    "tagged": "A tagger of words, at the first piece of each",
    "span": "A finder of answers in a context: a logit per token for the start and one for the end",
    None: "An encoder without a head",
}
SHAPES: Mapping[str | None, str] = {
    "pair": "(sequences, labels)",
    "choice": "(sequences, 1)",
    "tagged": "(sequences, tokens, labels)",
    "span": "(sequences, tokens, 2)",
    None: "(sequences, tokens, width)",
}
TITLES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}


def code(engine: str, kind: str | None, facts: Mapping[str, Any]) -> str:
    """A script that answers with this model, run in its folder; it leaves the raw output in `logits` or `hidden`."""
    opening = OPENING[engine].format(output=facts["output"], hint="bf16" if facts["precision"] == "bf16" else "f32")
    inputs = "\n".join(
        f'        "{name}": np.array([one.{FIELDS[name]} for one in encodings]),' for name in facts["inputs"]
    )
    batching = BATCHING.format(
        longest=facts["longest"], pad_id=facts["pad_id"], pad_token=facts["pad_token"], inputs=inputs
    )
    use = USES[kind]
    return ((opening if "json." in use else opening.removeprefix("import json\n\n")) + batching + use).strip()


def write(path: Path, engine: str, kind: str | None, facts: Mapping[str, Any]) -> None:
    """Write the model card. `facts`: what the template names beside what follows from engine and kind."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701  Markdown, read as text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("model_card.md.j2").render(
        **facts,
        kind=kind,
        engine_title=TITLES[engine],
        what=WHAT[kind],
        output_shape=SHAPES[kind],
        code=code(engine, kind, facts),
    )
    path.write_text(text, encoding="utf-8")
