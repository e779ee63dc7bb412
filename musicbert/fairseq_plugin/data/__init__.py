"""Opening data-bins, and what all data sets and tasks share."""
