"""Packs a recipe for a machine without a network: the files it reads, its encoder and packages, in one zip file.

    python pocket/pack.py RECIPE PARCEL.zip --data FOLDER --encoder FOLDER [--tower FOLDER]
           [--languages en,de] [--set FIELD=VALUE] [--seeds 1,2] [--side 160] [--package NAME]

Files in other languages than --languages are left out, so targets with "available" languages are evaluated in these.
The encoder's vocabulary is cut to the pieces of the rows that are read, whose tokens do not change; its weights are
packed by blocks.py. Pictures are scaled to --side pixels at most. `pocket/run.py PARCEL.zip` runs the recipe there.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import blocks
from PIL import Image

from viaduct import api
from viaduct.models.encoder import load_encoder, load_tokenizer, save_encoder
from viaduct.rows import Row
from viaduct.runs.gaps import listed
from viaduct.runs.planned import Planned
from viaduct.runs.recipes import load_recipe
from viaduct.runs.rows import source_of
from viaduct.runs.spec import Recipe
from viaduct.serving.compressing import renumber, trimmed
from viaduct.serving.model import InferenceModel, LoadedModel

LIMIT_BYTES = 50 * 2**20
WEIGHTS, PACKED = "model.safetensors", "model.packed"
FOREIGN_NAMES = re.compile(r"locale-data/(?!(root|en)\.dat)")
"""Babel's files with the names of languages in other languages than English: a fifth of a parcel."""
PACKAGES = ("emoji", "babel", "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "langcodes")
"""Packages that Viaduct needs in addition to PyTorch, transformers, and what usually comes with them."""
PICTURES = (".jpg", ".jpeg", ".png")
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    options = _options()
    set_ = [*options.set, f'encoder="{options.encoder}"']
    seeds = tuple(map(int, options.seeds.split(","))) if options.seeds else None
    recipe = load_recipe(options.recipe, overrides=set_, seeds=seeds)
    with tempfile.TemporaryDirectory() as temporary:
        planned = api.plan(recipe, data=options.data, store=Path(temporary) / "store", rows=Path(temporary))
        if planned.plan.missing:
            raise SystemExit(f"{options.recipe}: data are missing; see `viaduct plan {options.recipe}`")
        parcel = Path(temporary) / "parcel"
        read = read_by(planned, options.languages)
        copy_data(planned, read, parcel / "data", options.side)
        encoder = parcel / "encoders" / options.encoder.resolve().name
        cut_encoder(read, options.encoder, encoder)
        for tower in options.tower:
            shutil.copytree(tower, place := parcel / tower.name)  # next to the recipe, which looks for it there
            _pack_weights(place)
        require_whole(recipe, parcel)
        _packages(parcel / "packages", PACKAGES if options.package is None else options.package)
        name = options.recipe
        if Path(name).is_file():
            name = shutil.copy(name, parcel / Path(name).name).name
        about = {
            "recipe": name,
            "run": planned.plan.recipe.name,
            "encoder": encoder.name,
            "set": options.set,
            "seeds": options.seeds,
        }
        (parcel / "about.json").write_text(json.dumps(about), encoding="utf-8")
        zipped(parcel, options.parcel)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("parcel", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--tower", type=Path, action="append", default=[])
    parser.add_argument("--languages", type=lambda text: {*text.split(","), "en"}, help="these alone (default: all)")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seeds")
    parser.add_argument("--side", type=int, default=160, help="longer side of pictures, in pixels (default 160)")
    lacking = f"what the machine lacks (default: {' '.join(PACKAGES)})"
    parser.add_argument("--package", action="append", metavar="NAME", help=lacking)
    return parser.parse_args()


Read = dict[tuple[str, str, str], list[Row]]
"""(task, split, language), before substitution -> the rows that stages read."""


def read_by(planned: Planned, languages: set[str] | None) -> Read:
    """The rows that the plan's stages read in these languages (None: in all)."""
    data, found = planned.census.data, Read()
    for stage in planned.plan.stages:
        for need in planned.plan.needs[stage.path]:
            is_wanted = need not in found and (languages is None or need[2] in languages)
            if is_wanted and data.folder.has(*source_of(*need[:2], stage.work.declared), need[2]):
                found[need] = list(data.load(*need, stage.work.declared).rows)
    return found


def copy_data(planned: Planned, read: Read, target: Path, side: int) -> None:
    """Copy the files of these rows below another folder, pictures scaled to `side` pixels at most."""
    data = planned.census.data
    paths: dict[Path, None] = {}
    for (task, split, language), rows in read.items():
        source = source_of(task, split, planned.plan.recipe.substitutions)
        paths |= dict.fromkeys(data.folder.locate(*source, language).paths)
        pictures = data.task(source[0]).row_kind.files
        paths |= dict.fromkeys(filter(None, pictures(rows) if pictures is not None else ()))
    for path in paths:
        place = target / path.relative_to(data.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in PICTURES:
            place.write_bytes(smaller(path, side))
        else:
            shutil.copyfile(path, place)


def smaller(path: Path, side: int) -> bytes:
    """A picture scaled to at most `side` pixels in either direction, in its original format."""
    with Image.open(path) as opened:
        picture, form = opened.convert("RGB"), opened.format
    picture.thumbnail((side, side), Image.Resampling.BICUBIC)
    content = io.BytesIO()
    picture.save(content, form, quality=60, optimize=True)
    return content.getvalue()


def require_whole(recipe: Recipe, parcel: Path) -> None:
    """Exit if the recipe would lack anything with the parcel's data, as it would on the other machine."""
    planned = api.plan(recipe, data=parcel / "data", store=parcel.parent / "store", rows=parcel.parent)
    if planned.plan.missing:
        what = "\n  ".join(listed(planned.plan.missing))
        raise SystemExit(f"the parcel would lack data that are read; name more --languages:\n  {what}")


def cut_encoder(read: Read, source: Path, target: Path) -> None:
    """Write the encoder with its vocabulary cut to the pieces of these rows, packed."""
    texts = {" ".join(need): list({text: None for row in rows for text in row.texts}) for need, rows in read.items()}
    encoder, tokenizer = load_encoder(str(source), None), load_tokenizer(str(source), None)
    model = LoadedModel(InferenceModel(encoder, None).eval(), None, tokenizer)
    model, kept = trimmed(model, texts)
    renumber(model.config, model.tokenizer)
    save_encoder(encoder, model.tokenizer, target, half=True)
    print(f"encoder: {kept.pieces:,} of {kept.of:,} pieces; {_pack_weights(target)}", file=sys.stderr)


def _pack_weights(folder: Path) -> str:
    counts = blocks.pack(folder / WEIGHTS, folder / PACKED)
    (folder / WEIGHTS).unlink()
    return ", ".join(f"{form} {values:,}" for form, values in counts.items())


def _packages(folder: Path, names: Sequence[str]) -> None:
    """Write Viaduct itself and packages for Python 3.12 on Linux, unpacked, so that nothing has to be installed."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    machine = ("--python-version", "3.12", "--platform", "manylinux2014_x86_64", "--only-binary=:all:")
    with tempfile.TemporaryDirectory() as wheels:
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, str(ROOT)], check=True)
        for name in names:
            subprocess.run([*pip, "download", "--no-deps", *machine, "--dest", wheels, name], check=True)
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder, [name for name in archive.namelist() if not FOREIGN_NAMES.search(name)])


def zipped(folder: Path, target: Path) -> None:
    """Write everything below a folder as one zip file. If it exceeds the limit, exit and name the largest files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
        sizes = sorted(((one.compress_size, one.filename) for one in archive.infolist()), reverse=True)
    size = target.stat().st_size
    print(f"{target}: {size / 2**20:.1f} MiB", file=sys.stderr)
    if size > LIMIT_BYTES:
        most = ", ".join(f"{name} {count / 2**20:.1f}" for count, name in sizes[:8])
        target.unlink()
        raise SystemExit(f"more than {LIMIT_BYTES / 2**20:.0f} MiB; the largest files, in MiB: {most}")


if __name__ == "__main__":
    main()
