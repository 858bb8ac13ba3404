"""Training, step by step: rows, features, split, models, thresholds, files; `pipelines.train` tells the story."""
