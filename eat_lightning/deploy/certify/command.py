"""`python -m eat_lightning.certify run=<folder> risk=… level=…`: certify the risk of exits.

It reads only the part of the calibration split that is used for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.files import fields_of

if TYPE_CHECKING:
    from eat_lightning.record.certificate import Certificate


def certify(config: dict[str, Any]) -> Certificate:
    """Issue a certificate, save and print it.

    Raises:
        ConfigError: with one line per error, before anything is loaded.
    """
    from eat_lightning.deploy.certify.certified import certified

    return certified(config)


main = entry("certify", certify, summary=fields_of)
