"""`python -m eat_lightning.adapt`, the same as `eat adapt`. To be run, and not imported."""

from eat_lightning.deploy.adapt.command import main

if __name__ == "__main__":
    main()
