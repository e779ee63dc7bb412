"""The only door to fairseq: tasks, models and criterions, registered when this package is imported."""
