"""The past: from raw files to the event log, and from the event log to a model."""

from feature_repo import unchecked_feast as unchecked_feast
