"""Metrics of whole test sets, and their bootstrap intervals."""
