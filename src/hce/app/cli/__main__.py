"""`python -m hce.app.cli`, which `./hce` runs."""

from hce.app.cli.main import main

main()
