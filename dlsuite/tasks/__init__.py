"""Tasks: what turns a network and a recipe into a compiled keras.Model."""
