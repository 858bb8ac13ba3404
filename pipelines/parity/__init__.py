"""Parity, continuously: logged answers against the event log, each difference with its cause."""
