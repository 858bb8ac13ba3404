"""`make chaos`: the stream under kills, pauses and bad input, then every value compared with its definition."""
