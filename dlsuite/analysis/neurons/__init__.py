"""What the neurons of any Keras model respond to, one method a file."""
