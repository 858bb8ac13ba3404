"""What each way of letting the future in does to a score: the score it shows, and the score it is worth."""
