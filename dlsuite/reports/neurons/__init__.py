"""Figures and the page of what neurons respond to."""
