"""Datasets, readers of users' own files, and the tf.data pipeline."""
