"""`python -m eat_lightning.export`, the same as `eat export`. To be run, and not imported."""

from eat_lightning.bundle.graphs.command import main

if __name__ == "__main__":
    main()
