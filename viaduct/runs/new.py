"""The command `new`: a starter recipe, and next to it the schema that an editor uses to complete and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viaduct.command import Command
from viaduct.errors import UsageError

SCHEMA = "recipe.schema.json"

TEMPLATE = f"""# yaml-language-server: $schema={SCHEMA}
# The line above lets editors with a YAML language server complete field names and mark mistakes.
# All fields: docs/recipe_fields.md, or `viaduct recipes --fields`. Next: `viaduct plan {{file}}`.

name: {{name}}
hypothesis: SQuAD helps question answering, and does nothing for sentence pairs.   # stated before the run

# What is trained: a folder that AutoModel.from_pretrained opens, or a name on the Hugging Face Hub. The commit of a Hub
# name is part of the experiment; if it is left out, today's is used and reported.
encoder: FacebookAI/xlm-roberta-base
revision: e73636d4f797dec63c3081bb6ed5c7b0bb3f2089

# What comes before the target tasks. Arms are compared with `none`; `viaduct tasks` lists what they can train on.
intermediates:
  - name: none
  - name: squad
    tasks: [squad]
    training: {{{{max_length: 384, stride: 128}}}}

# What is trained on in English and evaluated in the other languages. `languages: available` takes those whose files are
# present; without it, the files of all the card's languages must be.
targets:
  - task: xnli
    languages: available
  - task: xquad
    languages: available
    training: {{{{learning_rate: 3.0e-5, max_length: 384, stride: 128}}}}

seeds: [1, 2, 3]   # fewer than three claim nothing
"""


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the recipe: letters, digits, '.', '_' and '-'.")],
) -> None:
    """Write a commented recipe to start from. Writes NAME.yaml, and the schema that editors check it against."""
    from viaduct.results.writing import write_atomic
    from viaduct.runs.recipes import load_recipe
    from viaduct.runs.reference import schema_text

    if name.endswith(".py"):
        raise UsageError(f"{name}: a new recipe is a YAML file", fix=f"viaduct new {name.removesuffix('.py')}")
    suffix = ".yml" if name.endswith(".yml") else ".yaml"
    stem = name.removesuffix(suffix)
    path = Path(f"{stem}{suffix}")
    if Path(stem).name != stem or path.exists():
        why = "already exists" if path.exists() else "would not be in this folder"
        raise UsageError(f"{path} {why}", fix="give another name")
    try:
        write_atomic(path, TEMPLATE.format(file=path, name=stem))
        load_recipe(path)
    except UsageError:
        path.unlink()
        raise
    write_atomic(Path(SCHEMA), schema_text() + "\n")
    typer.echo(f"recipe: {path} (schema: {SCHEMA})")


NEW = Command("new", new)
