"""Readers of data sets of downstream tasks, in the layouts that their authors published.

One file a source under one contract (`musicbert.corpus.readers.contract`); the twelve tasks of M2BERT's
benchmark are the table `BENCHMARK`.
"""

from musicbert.corpus.readers.registry import SOURCES, read
from musicbert.corpus.readers.tasks import BENCHMARK, BenchmarkTask, get_task

__all__ = ["BENCHMARK", "SOURCES", "BenchmarkTask", "get_task", "read"]
