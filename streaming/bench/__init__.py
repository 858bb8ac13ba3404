"""`make bench-stream`: how fast the fold is, and how fresh what is read is, beside the barest loops that do as much."""
