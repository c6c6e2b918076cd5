"""What someone who means harm would put into a run, for tests."""

import json
import os
from pathlib import Path

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.errors import ConfigError

ODD = [
    None,
    True,
    -1,
    0,
    1.5,
    10**9,
    10**40,
    float("nan"),
    "x",
    "",
    [],
    {},
    [[]],
    {"a": {}},
    "\n\x1b[2J",
]


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def opened(run: Path):
    """All that `predict` reads of a run."""
    return TorchModel.open(run, exit={"tau": None, "layers": None, "patience": None})


def keys_of(node, path=()):
    """Every place in a json, by its keys."""
    yield path
    inner = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in inner:
        yield from keys_of(value, (*path, key))


def put(node, path, value):
    """A copy with another value at a place."""
    if not path:
        return value
    copy = node.copy()
    copy[path[0]] = put(node[path[0]], path[1:], value)
    return copy


def refusals(call, path: Path, dump, sound: dict) -> int:
    """Every odd value at every place of a file: how many were refused, the others taken."""
    count = 0
    for place in keys_of(sound):
        for value in ODD:
            path.write_text(dump(put(sound, place, value)))
            said = ""
            try:
                call()
            except ConfigError as error:
                said = str(error)
                count += 1
            assert all(line.isprintable() for line in said.split("\n")), (place, value, said)
    return count
