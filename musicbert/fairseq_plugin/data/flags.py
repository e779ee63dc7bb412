"""Flags of fairseq-train as fields of a dataclass."""

from dataclasses import field
from typing import Any

__all__ = ["flag"]


def flag(default: Any, text: str) -> Any:
    """Field of a configuration with its help text."""
    return field(default=default, metadata={"help": text})
