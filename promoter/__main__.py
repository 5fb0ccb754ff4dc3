"""What the console script runs, and python -m promoter. A shell that waits for a completion is answered at once."""

import os
import sys


def main() -> None:
    """The whole program."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "__complete":
        from promoter.completion import answer

        sys.exit(answer(sys.argv[2:], os.environ))
    if command == "__refresh":
        from promoter.cli.completion import refresh

        sys.exit(refresh(sys.argv[2:], os.environ))
    from promoter.cli import main as run

    run()


if __name__ == "__main__":
    main()
