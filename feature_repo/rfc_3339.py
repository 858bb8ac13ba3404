"""How an instant is written in topics and in the REST API: RFC 3339 with a UTC offset."""

import re

RFC_3339 = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})[Tt ](?P<time>(?:[01]\d|2[0-3]):\d{2}:\d{2})(?:\.(?P<fraction>\d+))?"
    r"(?P<offset>[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
"""The form alone: that there is such a day, minute and second is seen where the instant is made."""
