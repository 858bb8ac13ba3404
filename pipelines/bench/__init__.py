"""`make bench`: how fast history, materialize and online reads are, beside what people use, in one run."""
