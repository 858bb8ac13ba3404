"""Set-up and processes: what `make` installs, starts, watches and stops."""
