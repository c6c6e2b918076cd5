"""Find a backbone's folder by name: a local one, or a snapshot of a hub repository."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from eat_lightning.config import CONFIG_DIR
from eat_lightning.errors import ConfigError
from eat_lightning.weights.files import FACTORS


def model_folder(name: str) -> Path:
    """Return a local folder, or download a snapshot of a hub repository."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    words = ["tokenizer*", "vocab.*", "merges.txt", "*.model", "special_tokens_map.json"]
    wanted = ["README.md", "config.json", "model.safetensors", "model*.safetensors*", *words]
    wanted += ["exits/config.json", "exits/model.safetensors"]  # of a run's model
    wanted.append(FACTORS)
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted))
        if not [*folder.glob("model*.safetensors*")]:  # released before there were such files
            old = [*wanted, "pytorch_model*.bin*"]
            folder = Path(snapshot_download(name, allow_patterns=old))
        return folder
    except (OSError, ValueError, HfHubHTTPError) as error:
        first = str(error).splitlines()[0][:120]
        raise ConfigError(
            f"encoder.pretrained={name} is neither a folder nor available from a hub: give a "
            "local folder (encoder.pretrained=path) or network access "
            f"({first}){nearest_backbone(name)}"
        ) from None


def nearest_backbone(name: str) -> str:
    """Return the most similar name among the backbones in `configs/encoder/` and neighbouring
    folders.
    """
    import yaml

    yamls = sorted(Path(CONFIG_DIR, "encoder").glob("*.yaml"))
    nodes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in yamls]
    known = [node.get("pretrained") or "" for node in nodes]
    if name in known:  # spelt right: another one would not be nearer
        return ""
    known += [str(path) for path in Path(name).expanduser().parent.glob("*") if path.is_dir()]
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; the nearest name is {near[0]}" if near else ""
