"""Many trainings: which (`plan`), how (`recipe`, `models`), on what (`table`), the `engine`, `benchmark`."""
