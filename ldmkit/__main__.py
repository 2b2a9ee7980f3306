"""`python -m ldmkit`: the command line."""

from ldmkit.cli import main

main(prog_name="ldmkit")
