"""Commands, gaps between their steps, and faults that come there: one table, run with real processes."""
