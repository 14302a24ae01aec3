"""What makes a copy of this process cheap: commands look at storage in one (inferkit/machine/watched.py)."""

import gc

from inferkit.records.params import NOTEBOOKS


def prepare_to_be_copied() -> None:
    """Do once what each copy would do anew."""
    for model in NOTEBOOKS.values():
        model.model_rebuild()
    gc.freeze()  # a collection in a copy writes to, and so copies, the pages of all that it looks at
