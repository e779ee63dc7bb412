"""Learning labels of notes and pieces: ratings, performers, sentence tasks and tagging."""
