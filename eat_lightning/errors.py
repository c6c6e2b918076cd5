"""The one error a person sees: lines that name key, bound and value, without a traceback."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hydra.errors import CompactHydraException


class ConfigError(CompactHydraException):
    """A wrong setting, file or folder. Hydra prints it without a traceback and ends with status 1,
    and the other jobs of a sweep still run (`sys.exit` would end them)."""

    @classmethod
    def of(cls, faults: Iterable[str]) -> "ConfigError":
        return cls("\n".join(faults))


@contextmanager
def told() -> Iterator[None]:
    """End a script with status 1 and a line for each fault, not a traceback, on a ConfigError."""
    try:
        yield
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


class Faults(list[str]):
    """What several checks found, so that everything is named at once."""

    @contextmanager
    def gathered(self, prefix: str = "") -> Iterator[None]:
        """Go on after a ConfigError, or a method's ValueError, and keep its lines."""
        try:
            yield
        except ConfigError as error:
            self.extend(prefix + line for line in str(error).splitlines())
        except ValueError as error:
            self.extend(prefix + line for line in str(error).split("; "))

    def check(self) -> None:
        """Raise ConfigError with all of them, if there are any."""
        if self:
            raise ConfigError.of(dict.fromkeys(self))
