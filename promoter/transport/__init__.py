"""What all clients of services share: HTTP with limits, credentials bound to places, and answers that are read or refused."""
