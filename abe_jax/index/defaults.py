"""What an index takes where nothing else is asked for."""

COSINE = 0.95  # of near-duplicates, at least
PRECISION = 0.95  # of matches: so many are right
