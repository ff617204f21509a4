"""The plan of a story: the body of `PUT /demo`."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

LEAST_CLIENTS: Final = 2  # of a side: one that stops, and another


class Plan(BaseModel):
    """The number of clients on each side, and what they are sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    clients: Annotated[
        int, Field(ge=LEAST_CLIENTS, description="Clients on each side, at most `max_clients` of `GET /demo`.")
    ] = 25
    rate_per_second: Annotated[float, Field(alias="rate", ge=1, le=200, description="Messages a second.")] = 40.0
    size_bytes: Annotated[int, Field(alias="size", ge=16, le=16_384, description="Bytes of a message.")] = 16_384

    def within(self, *, max_clients: int, max_message_bytes: int) -> Plan:
        """Returns the plan with defaults that this server allows; numbers that were asked for stay."""
        most = {"clients": max_clients, "size_bytes": max_message_bytes}
        changes = {
            name: min(getattr(self, name), limit) for name, limit in most.items() if name not in self.model_fields_set
        }
        return self.model_copy(update=changes)
