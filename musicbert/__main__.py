"""`python -m musicbert` is the command `musicbert`."""

from musicbert.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
