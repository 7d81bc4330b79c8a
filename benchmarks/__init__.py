"""Standalone comparisons of speed; no part of the installed package."""
