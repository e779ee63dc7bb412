"""Corpora of any size: folders, archives and lists of MIDI files become examples for pre-training.

The flow, each step one module: `sources` lists files, `worker` turns a chunk of them into a committed shard
of the work folder, `index` decides on duplicates and splits over all of them, `assemble` writes the parts,
`job` holds it together and goes on where a killed run stopped, `runner` is the seam to executors.
"""

from musicbert.corpus.builder.job import build_corpus
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.builder.report import BuildReport

__all__ = ["BuildOptions", "BuildReport", "build_corpus"]
