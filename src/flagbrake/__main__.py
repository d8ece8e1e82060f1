"""``python -m flagbrake``."""

from flagbrake.cli import main

main()
