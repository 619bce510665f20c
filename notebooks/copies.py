"""A learner's own copies of the notebooks: what they do there changes no file of the repository.

A copy that its learner has not changed follows its original. One that they have changed is kept under another name when
its original changes, so that both are there.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

# For each copy the original of which it was made, as `_content` tells it.
RECORD = ".copied.json"


def refresh(originals: Sequence[Path], folder: Path) -> list[str]:
    """Bring the copies in `folder` up to date; returns a sentence for each that was kept under another name."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / RECORD
    copied: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    kept = []
    for original in originals:
        copy, content = folder / original.name, _content(original)
        if copy.exists() and copied.get(copy.name) == content:
            continue
        if copy.exists() and _content(copy) not in (content, copied.get(copy.name)):
            mine = copy.rename(_free_name(copy))
            kept.append(f"{copy.name} has changed in the repository: what you did there is now in {mine.name}")
        shutil.copyfile(original, copy)
        copied[copy.name] = content
    record.write_text(json.dumps(copied, indent=2) + "\n")
    return kept


def _content(notebook: Path) -> str:
    """A digest of what a person sees of a notebook: its cells and their outputs, and not what JupyterLab adds."""
    try:
        cells = json.loads(notebook.read_text())["cells"]
        seen = [(cell["cell_type"], "".join(cell["source"]), cell.get("outputs", [])) for cell in cells]
    except (ValueError, KeyError, TypeError):  # no notebook any more: still their work
        return hashlib.sha256(notebook.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _free_name(copy: Path) -> Path:
    """The first of `04_reads-mine-1.ipynb`, `04_reads-mine-2.ipynb`, … that is not taken."""
    number = 1
    while (free := copy.with_stem(f"{copy.stem}-mine-{number}")).exists():
        number += 1
    return free
