"""`python -m eat_lightning.predict`, the same as `eat predict`. To be run, and not imported."""

from eat_lightning.deploy.predict.command import main

if __name__ == "__main__":
    main()
