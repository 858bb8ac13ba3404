"""What a log must be like before it becomes the log, checked by Great Expectations and shown in its data docs."""
