"""How fast the service answers: an open loop of requests against it, against less than it and against the usual way."""
