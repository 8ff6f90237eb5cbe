"""`python -m dlsuite.cli` is `dlsuite`."""

from dlsuite.cli.main import main

main()
