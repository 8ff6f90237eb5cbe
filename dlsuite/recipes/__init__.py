"""Recipes: what to train, on what, and how, as validated TOML."""
