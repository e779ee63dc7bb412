"""Learning labels: tasks, data sets, criterions and predictions for labels of notes and pieces."""
