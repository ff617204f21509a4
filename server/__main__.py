"""`python -m server` is `fanwise`."""

from .cli import main

main(prog_name="fanwise")
