"""Many trainings: every fold of a split with every seed, resumable, several at a time."""
