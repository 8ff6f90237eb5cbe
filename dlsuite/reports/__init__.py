"""Figures drawn from results; never trains."""
