"""Custom Keras layers, one a file, where Keras has none or a slow one."""
