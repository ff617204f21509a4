"""`python -m fanwise` is `fanwise`."""

from .cli.main import main

main(prog_name="fanwise")
