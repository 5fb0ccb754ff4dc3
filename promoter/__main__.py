"""python -m promoter"""

from promoter.cli import main

if __name__ == "__main__":
    main()
