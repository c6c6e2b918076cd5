"""`python -m eat_lightning.verify`, the same as `eat verify`. To be run, and not imported."""

from eat_lightning.deploy.verify.command import main

if __name__ == "__main__":
    main()
