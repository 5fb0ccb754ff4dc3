"""Overlays: their text edited byte for byte, and rendered."""
