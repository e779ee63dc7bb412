"""Optimisers that fairseq lacks: two forms of AdamW, and StableAdamW."""
