"""The features, one module per idea; Feast loads them all through `feature_repo/definitions.py`."""
