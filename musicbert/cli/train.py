"""`musicbert train`: the recipes of pre-training and fine-tuning, with the published hyper-parameters."""

import argparse
import time
from pathlib import Path

from musicbert.errors import ConfigError, nearest
from musicbert.recipes import RECIPES
from musicbert.recipes.options import make_parser, parse
from musicbert.recipes.training import train

DESCRIPTION = "Pre-train or fine-tune with a recipe of the papers, through fairseq-train."
EPILOG = (
    "recipes:\n"
    + "\n".join(f"  {name:24}{(recipe.__doc__ or '').partition('.')[0]}" for name, recipe in RECIPES.items())
    + """

examples:
  musicbert train musicbert --data corpus --arch musicbert_small
  musicbert train regression --init musicbert-mini --dry-run
  musicbert train pairs next --init musicbert-mini --seeds "1 2 3" -- --disable-validation

`musicbert train RECIPE --help` lists the options of a recipe. Flags after -- go to fairseq-train.

exit status: 0 done; 2 bad usage or input; else that of fairseq-train."""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the recipe; `run` reads its options."""
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="see below; without it, they are listed")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="options of the recipe")


class _Weights:
    """Checkpoints, through `musicbert.weights` (which imports torch)."""

    def find(self, name: str) -> Path:
        from musicbert.weights import resolve

        return resolve(name)

    def architecture(self, path: Path) -> tuple[str, dict[str, int]]:
        from musicbert.weights import read_bundle

        bundle = read_bundle(path)
        family, sizes = bundle.family, bundle.family.size_flags(bundle.config)
        name = family.architecture_name(bundle.config)
        preset = family.presets.get(name.removeprefix(f"{family.name}_"))
        return name, {} if preset and family.size_flags(preset) == sizes else sizes


class _Machine:
    """What torch says of this machine."""

    def gpus(self) -> int:
        import torch

        return int(torch.cuda.device_count())

    def cpu_speed(self) -> float:
        import torch

        size, times = 1024, 3
        matrix = torch.ones(size, size)
        torch.mm(matrix, matrix)
        begin = time.perf_counter()
        for _ in range(times):
            torch.mm(matrix, matrix)
        return 2 * size**3 * times / (time.perf_counter() - begin)


def run(options: argparse.Namespace) -> int:
    """Run a recipe; return the exit status."""
    if options.recipe is None:
        print(f"{DESCRIPTION}\n\n{EPILOG}")
        return 0
    if options.recipe not in RECIPES:
        hint = nearest(options.recipe, RECIPES) or f"recipes are {', '.join(RECIPES)}"
        raise ConfigError("unknown-recipe", f"no recipe {options.recipe}", hint=hint)
    recipe = RECIPES[options.recipe]
    parser = make_parser(
        recipe,
        prog=f"musicbert train {options.recipe}",
        description=f"{recipe.ABOUT}\n\nPublished values: {recipe.SOURCE}.",
        epilog="Flags after -- go to fairseq-train.",
    )
    try:
        given, extra = parse(recipe, options.rest, parser=parser)
    except SystemExit as stop:  # argparse, after --help
        return int(stop.code or 0)
    return train(given, extra, weights=_Weights(), machine=_Machine(), out=_say)


def _say(line: str) -> None:
    print(line, flush=True)
