"""The one error a person sees: lines that name key, bound and value, without a traceback."""

from collections.abc import Iterable

from hydra.errors import CompactHydraException


class ConfigError(CompactHydraException):
    """A wrong setting, file or folder. Hydra prints it without a traceback and ends with status 1,
    and the other jobs of a sweep still run (`sys.exit` would end them)."""

    @classmethod
    def of(cls, faults: Iterable[str]) -> "ConfigError":
        return cls("\n".join(faults))
