"""`python -m eat_lightning.drift`, the same as `eat drift`. To be run, and not imported."""

from eat_lightning.deploy.drift.command import main

if __name__ == "__main__":
    main()
