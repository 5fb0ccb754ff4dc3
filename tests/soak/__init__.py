"""What has to hold for a long time, while things are killed: `python -m tests.soak.webhook 10000`."""
