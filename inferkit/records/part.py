"""The base of what a rank is told and tells."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Immutable, with no unknown fields."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    def changed(self, **values: Any) -> Self:
        """Return a copy in which some fields have other values."""
        return self.model_copy(update=values)
