"""Reports: scores of networks and baselines as JSON, CSV, Markdown and pictures."""
