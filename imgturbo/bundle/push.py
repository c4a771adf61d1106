"""A bundle uploaded to a hub: the files that bundle.json lists, and the card; nothing else.

What lies beside them in the folder (checkpoints, data, notes) stays at home. The card's heading is
what hubs read: licence, tags, task, scores. What it lacks is filled in from ``bundle.json``, what a
user wrote there stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imgturbo.bundle.card import NETWORKS, front_matter, with_front_matter
from imgturbo.bundle.description import NAME, read_description, weights_file
from imgturbo.bundle.folder import load_bundle
from imgturbo.bundle.hub import CARD, asking, hub_of, parsed
from imgturbo.errors import ImgturboError

__all__ = ["Pushed", "push"]


@dataclass(frozen=True)
class Pushed:
    """What was uploaded.

    Attributes:
        address: ``hf://owner/name``, by which it is loaded.
        commit: of the repository.
        files: their names.
    """

    address: str
    commit: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.address}@{self.commit}: {', '.join(self.files)}"


def push(
    bundle: Path | str,
    address: str,
    *,
    private: bool = False,
    license: str | None = None,
    datasets: Sequence[str] = (),
    message: str | None = None,
) -> Pushed:
    """Upload a bundle: the files that it lists, checked, and its card.

    Args:
        bundle: its folder, or the name of a shipped one.
        address: ``hf://owner/name``, perhaps with ``@branch``; the repository is made if there is
            none.
        private: make it for its owner alone.
        license: of the weights, as hubs name it; None: the card's.
        datasets: of the hub, that it was trained on; for the card.
        message: of the commit.

    Raises:
        ImgturboError: a bundle that is damaged, a card that is not valid, no access, no answer.
    """
    repo, revision = parsed(address)
    api = hub_of(address)
    from huggingface_hub import CommitOperationAdd

    loaded = load_bundle(bundle)  # every byte of its weights is looked at
    content = read_description(loaded.path)
    card = _card(loaded.path, content, license, datasets)
    weights = [file for file in map(weights_file, NETWORKS) if file in content["files"]]

    sent: dict[str, Path | bytes] = {name: loaded.path / name for name in (NAME, *weights)}
    sent[CARD] = card.encode()
    with asking(address):
        api.create_repo(repo, private=private, exist_ok=True)
        made = api.create_commit(
            repo,
            [
                CommitOperationAdd(name, str(what) if isinstance(what, Path) else what)
                for name, what in sent.items()
            ],
            commit_message=message or f"imgturbo bundle {loaded.hash}",
            revision=revision,
        )
    return Pushed(f"hf://{repo}", made.oid, tuple(sent))


def _card(
    folder: Path, content: dict[str, Any], license: str | None, datasets: Sequence[str]
) -> str:
    """The folder's card, what its heading lacks filled in, as the library itself reads it.

    Raises:
        ImgturboError: its heading is no YAML, or the library refuses it.
    """
    from huggingface_hub import ModelCard

    file = folder / CARD
    own = file.read_text() if file.is_file() else ""
    more: dict[str, Any] = {}
    if license is not None:
        more["license"] = license
    if datasets:
        more["datasets"] = list(datasets)
    try:
        text = with_front_matter(own, front_matter(content), more)
        data = ModelCard(text, ignore_metadata_errors=False).data
    except (yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        said = " ".join(str(error).split())[:160]
        raise ImgturboError(f"{file}: its heading is not valid ({said}); mend it") from None
    missing = [key for key in ("license", "library_name", "tags") if not data.get(key)]
    if missing:
        raise ImgturboError(f"{file}: its heading lacks {', '.join(missing)}; add it")
    return text
