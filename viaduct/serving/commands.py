"""The commands `export` and `profile`, and what they print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from viaduct.command import Command, Data, Device, Json, ModelFolder, Models, as_json, data_if_any, table
from viaduct.serving.compression import GPU


def export_command(  # noqa: PLR0913  one argument per option is how Typer declares a command
    model: ModelFolder,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the exported model.")],
    engine: Annotated[str, typer.Option(metavar="onnx|openvino|transformers", help="Engine that will run it.")],
    precision: Annotated[str, typer.Option(metavar="fp32|bf16|int8", help="Number format.")] = "fp32",
    languages: Annotated[
        str | None,
        typer.Option(metavar="en,de,...", help="Keep only the vocabulary of these languages' text in --data."),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Keep only the vocabulary of this file (one text per line)."),
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Keep only this many layers.")] = None,
    data: Data = None,
) -> None:
    """Export a model to run without Viaduct. Writes a folder for ONNX Runtime, OpenVINO or transformers."""
    from viaduct.serving import export as exporting

    codes = tuple(languages.split(",")) if languages else ()
    settings = exporting.ExportSettings(engine, precision, codes, tuple(text or ()), layers)
    made = exporting.export(model, directory, settings, data_if_any(data))
    typer.echo(exported_words(made))
    typer.echo(f"exported: {directory} ({made['num_bytes'] / 1e6:,.1f} MB)")


def profile_command(  # noqa: PLR0913  one argument per option
    models: Models,
    engine: Annotated[
        str | None, typer.Option(metavar="torch|onnx|openvino", help="Engine [torch; an exported model's own].")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="fp32|bf16|fp16|int8", help="Number format [fp32; an exported model's own].")
    ] = None,
    device: Device = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    rows: Annotated[int, typer.Option(help="Rows to measure on.")] = 200,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what models cost to run. Estimates from the architecture come first, then measurements, side by side."""
    from viaduct.runs.encoder import folder_of
    from viaduct.serving import profile as profiling

    found = profiling.profiles(
        [folder_of(model) for model in models],
        engine,
        precision,
        threads=threads,
        device=device,
        data=data_if_any(data),
        rows=rows,
        announce=lambda cost: typer.echo(f"{cost_words(cost)}\n", err=json),
    )
    if json:
        typer.echo(as_json(profiles=[{"called": name, **one} for name, one in zip(models, found, strict=True)]))
        return
    typer.echo("\n\n".join(profile_words(one) for one in found))
    if len(found) > 1:
        typer.echo(f"\nside by side\n\n{side_by_side(models, found)}")


EXPORT = Command("export", export_command)
PROFILE = Command("profile", profile_command)


def exported_words(made: Mapping[str, Any]) -> str:
    """A table of what an export kept and how close it is to its source."""
    lines = [("source", made["source"]), ("engine", f"{made['engine']}, {made['precision']}")]
    lines.append(("layers", f"{made['layers']} of {made['layers_before']}"))
    part = made["vocabulary"]
    if part is not None:
        lines.append(("pieces", f"{part['pieces']:,} of {part['of']:,}"))
        shown = {name: "not measured" if share is None else f"{share:.2%}" for name, share in part["coverage"].items()}
        lines += [(f"covered, {name}", f"{text} of tokens in held-out lines") for name, text in shown.items()]
    compared = made["comparison"]
    lines += _lost(compared, made["languages"])
    of = "the model as it was cut" if compared["cut"] else "the model"
    lines.append(
        ("largest difference", f"{compared['largest_difference']:.2g} from {of} in float32 ({compared['rows']})")
    )
    return table(("", ""), lines)


def _lost(compared: Mapping[str, Any], languages: Sequence[str]) -> list[tuple[str, str]]:
    """Table lines that compare predictions and scores with those of the whole model in float32."""
    from viaduct.serving.losses import NO_LABELS, NO_ROWS, grouped

    if compared["agreement"] is None:
        known = {"text_agreement": "same class", "similarity": "mean cosine"}
        of = "of plain text or made-up sequences, against the whole model"
        lines = [(words, f"{compared[name]:.4f} {of}") for name, words in known.items() if compared[name] is not None]
        return [*lines, ("scores", NO_ROWS)]
    count, where = compared["count"], compared["compared_on"]
    lines = [("same predictions", f"{compared['agreement']:.2%} of {count:,} as the whole model ({where})")]
    for codes, rows, whole, export in grouped(compared, languages):
        told = f"whole model {100 * whole:.1f}, export {100 * export:.1f} ({codes}, {rows:,} rows)"
        lines.append((f"{compared['metric']}, percent".replace("_", " "), told))
    return lines if compared["metric"] else [*lines, ("scores", NO_LABELS)]


def cost_words(implied: Mapping[str, Any]) -> str:
    """Tables of what an architecture implies: size, operations, and the ceiling set by the rate of matrix products."""
    parameters = implied["parameters"]
    rate, format = implied["flops_per_second_of_products"], implied.get("products", "float32")
    lines = [
        ("layers x width", f"{implied['layers']} x {implied['width']}"),
        ("parameters", f"{parameters['total']:,}"),
        ("  token embedding", f"{parameters['token_embedding']:,}"),
        ("  the rest", f"{parameters['rest']:,}"),
        ("weights", f"{implied['weight_bytes'] / 1e6:,.1f} MB"),
        ("tokens per sentence", f"{implied['tokens_per_sentence']:.1f}"),
        ("operations per sentence", f"{implied['flops_per_sentence'] / 1e9:,.3g} G"),
        ("products here", f"{rate / 1e9:,.0f} G operations per second, {format}, measured"),
        ("at most", f"{implied['most_sentences_per_second']:,.0f} sentences per second in {format}"),
    ]
    parts = ["from the architecture", table(("", ""), lines)]
    languages = [
        (
            code,
            f"{one['tokens_per_sentence']:.1f}",
            f"{one['flops_per_sentence'] / 1e9:,.3g}",
            f"{one['most_sentences_per_second']:,.0f}",
        )
        for code, one in implied["by_language"].items()
    ]
    if languages:
        header = ("language", "tokens per sentence", "G operations", "sentences per second at most")
        parts.append(table(header, languages, frozenset({1, 2, 3})))
    return "\n\n".join(parts)


def profile_words(found: Mapping[str, Any]) -> str:
    """A table of what was measured, and under which conditions."""
    latency, most, conditions = found["latency_ms"], found["throughput"], found["conditions"]
    energy, format = found["energy_joules_per_example"], found["cost"].get("products", "float32")
    memory, counter = "the whole process", "the whole processor"
    if conditions["device"].startswith(GPU):
        memory, counter = "of the GPU", "the GPU"
    peak = found["peak_bytes"]["in_all"]
    lines = [
        ("engine", f"{found['engine']}, {found['precision']}, {conditions['threads']} thread(s)"),
        ("latency of one row", f"p50 {latency['p50']:.2f}, p95 {latency['p95']:.2f}, p99 {latency['p99']:.2f} ms"),
        ("rows per second", f"{most['examples_per_second']:,.1f} in batches of {most['batch_tokens']:,} tokens"),
        ("share of products", f"{most['share_of_product_rate']:.1%} of the {format} rate"),
        ("padding", f"{most['padding_fraction']:.1%}"),
        ("peak memory", "not available" if peak is None else f"{peak / 1e6:,.0f} MB, {memory}"),
        ("time to load", f"{found['load_seconds']:.2f} s"),
        ("size on disk", f"{found['disk_bytes'] / 1e6:,.1f} MB"),
        ("energy per row", "not available" if energy is None else f"{energy:.3g} J, {counter}"),
        ("rows", f"{conditions['rows']}; tokenising {conditions['tokenising']}"),
        ("device", f"{conditions['device']}; load average before: {conditions['load_average_before']:.1f}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in found["versions"].items())),
    ]
    return f"measured\n\n{table(('', ''), lines)}"


def side_by_side(models: Sequence[str], found: Sequence[Mapping[str, Any]]) -> str:
    """A table with one line per model, each under the name that the user gave."""
    lines = []
    for model, one in zip(models, found, strict=True):
        peak = one["peak_bytes"]["in_all"]
        lines.append(
            (
                model,
                f"{one['engine']} {one['precision']}",
                f"{one['cost']['parameters']['total'] / 1e6:,.1f}",
                f"{one['cost']['tokens_per_sentence']:.1f}",
                f"{one['latency_ms']['p50']:.2f}",
                f"{one['latency_ms']['p95']:.2f}",
                f"{one['throughput']['examples_per_second']:,.1f}",
                "-" if peak is None else f"{peak / 1e6:,.0f}",
                f"{one['disk_bytes'] / 1e6:,.1f}",
            )
        )
    header = ("model", "engine", "M parameters", "tokens a row", "p50 ms", "p95 ms", "rows/s", "peak MB", "disk MB")
    return table(header, lines, frozenset(range(2, len(header))))
