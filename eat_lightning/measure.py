"""`python -m eat_lightning.measure`, the same as `eat measure`. To be run, and not imported."""

from eat_lightning.evaluation.command import main

if __name__ == "__main__":
    main()
