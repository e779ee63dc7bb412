"""Readers of data sets of downstream tasks, in the layouts that their authors published.

One file a source under one contract (`musicbert.corpus.readers.contract`); the twelve tasks of M2BERT's
benchmark are the table `BENCHMARK`. A new data set is a new reader and its entries of `READERS` and
`BENCHMARK` (``tasks.py``); `register_source` adds one from outside this package.
"""

from musicbert.corpus.readers.benchmark import SOURCES, read, register_source
from musicbert.corpus.readers.tasks import BENCHMARK, BenchmarkTask, benchmark_task, get_task

__all__ = ["BENCHMARK", "SOURCES", "BenchmarkTask", "benchmark_task", "get_task", "read", "register_source"]
