"""`python -m eat_lightning.convert`, the same as `eat convert`. To be run, and not imported."""

from eat_lightning.deploy.convert.command import main

if __name__ == "__main__":
    main()
