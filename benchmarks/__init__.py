"""Figures: every peer is measured in the same run as promoter, and only ratios are claimed."""
