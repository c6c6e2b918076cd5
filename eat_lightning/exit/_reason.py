"""Why an example left: the codes that exit rules give and answers carry."""

from enum import IntEnum


class Reason(IntEnum):
    STAYS = 0
    LAST_LAYER = 1
    CONFIDENT = 2
    PATIENT = 3

    @property
    def label(self) -> str:
        return self.name.lower()
