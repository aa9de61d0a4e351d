"""`make demo`: from an empty machine to an answered question."""
