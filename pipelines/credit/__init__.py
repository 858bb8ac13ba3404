"""`make credit`: applications instead of transactions, through the same doors: mapping, log, feature view, registry."""
