"""The answer: a REST service that reads features by user, scores them with the champion and says why."""

from feature_repo import unchecked_feast as unchecked_feast
