"""The plan of a run: the body of `PUT /demo`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ...tools.load.behaviour import Behaviour

Mode = Literal["fanwise", "tutorial"]


class Plan(BaseModel):
    """How many clients of each kind, and what they are sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    mode: Annotated[
        Mode, Field(description="Sender of the messages: a channel of Fanwise, or the loop of the tutorials.")
    ]
    clients: Annotated[int, Field(ge=1, description="Number of clients, at most `max_clients` of `GET /demo`.")]
    slow: Annotated[int, Field(ge=0, description="Clients among them that read 8 KB a second.")] = 0
    stalled: Annotated[int, Field(ge=0, description="Clients among them that read nothing.", validate_default=True)] = 0
    rate_per_second: Annotated[float, Field(alias="rate", ge=1, le=200, description="Messages a second.")] = 50.0
    size_bytes: Annotated[int, Field(alias="size", ge=16, le=16_384, description="Bytes of a message.")] = 4096

    @field_validator("stalled")
    @classmethod
    def _clients_are_of_one_kind(cls, stalled: int, info: ValidationInfo) -> int:
        clients, slow = info.data.get("clients"), info.data.get("slow")
        if clients is not None and slow is not None and slow + stalled > clients:
            raise ValueError(f"{slow} slow and {stalled} stalled are more than the {clients} clients")
        return stalled

    def counts(self) -> dict[Behaviour, int]:
        """{kind: clients}."""
        healthy = self.clients - self.slow - self.stalled
        return {Behaviour.HEALTHY: healthy, Behaviour.SLOW: self.slow, Behaviour.STALLED: self.stalled}
