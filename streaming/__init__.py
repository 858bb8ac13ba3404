"""The present: Kafka to the online store, to the event log, and to alerts."""

from feature_repo import unchecked_feast as unchecked_feast
