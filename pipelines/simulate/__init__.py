"""A small world whose frauds show in sequence, speed and novelty, not in any single transaction."""
