"""Arrays and runs in, results out."""
