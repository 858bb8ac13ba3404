"""From somebody's files to the history of the event log; `pipelines.load` tells the story."""
