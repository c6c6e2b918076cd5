"""The one error a person sees: lines that name key, bound and value, without a traceback."""

import re
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
def reported() -> Iterator[None]:
    """End a script with status 1 and a line for each fault, not a traceback, on a ConfigError."""
    try:
        yield
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def reading(what: object, *more: type[Exception]) -> Iterator[None]:
    """Raise ConfigError, in one line, where a file is not what it should be: errors of reading and
    of taking apart what was read, and `more`."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError, AttributeError, *more) as error:
        raise ConfigError(f"{what}: cannot be read ({one_line(error, 120)})") from None


def one_line(error: object, most: int = 300) -> str:
    """Return an error's message in one line without control characters, whatever a file put into
    it."""
    words = " ".join(str(error).split())[:most]
    return "".join(c if c.isprintable() else "?" for c in words)


def in_one_line(text: str) -> str:
    """Shorten an error of Hydra or of a server to one line, without what only its authors use."""
    lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
    noise = ("full_key:", "object_type=", "Set the env", "Config search path", "provider=")
    parts = [line.rstrip(".") for line in lines if not line.startswith(noise)]
    return "; ".join(re.sub(r"^In '.+?': ", "", part) for part in parts).replace(":; ", ": ")


class Faults(list[str]):
    """Errors of several checks, collected so that all of them are reported at once."""

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
