"""Real servers and data that several test modules start or build."""
