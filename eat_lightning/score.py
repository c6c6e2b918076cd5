"""`python -m eat_lightning.score`, the same as `eat score`. To be run, and not imported."""

from eat_lightning.deploy.score.command import main

if __name__ == "__main__":
    main()
