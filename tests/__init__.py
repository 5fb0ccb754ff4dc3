"""Tests: one file per module of promoter, real parts wherever one machine can have them."""
