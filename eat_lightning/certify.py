"""`python -m eat_lightning.certify`, the same as `eat certify`. To be run, and not imported."""

from eat_lightning.deploy.certify.command import main

if __name__ == "__main__":
    main()
