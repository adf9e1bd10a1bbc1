"""`python -m tinylm` is the command `tinylm`."""

from tinylm.app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
