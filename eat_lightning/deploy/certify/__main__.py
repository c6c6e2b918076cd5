"""`python -m eat_lightning.certify run=<folder> risk=… level=…`: exits with a guarantee.

Only the part of the calibration cut that nothing else uses is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.files import fields_of

if TYPE_CHECKING:
    from eat_lightning.record.certificate import Certificate


def certify(config: dict[str, Any]) -> Certificate:
    """Make a certificate, save and show it.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    from eat_lightning.deploy.certify.certified import certified

    return certified(config)


main = entry("certify", certify, summary=fields_of)

if __name__ == "__main__":
    main()
