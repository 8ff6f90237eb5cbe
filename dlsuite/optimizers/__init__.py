"""The optimizer table and learning-rate schedules."""
