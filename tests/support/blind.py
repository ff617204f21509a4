"""A protocol class with a planted fault: it does not hear that the transport's buffer is full, as once in uvicorn."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class BlindProtocol(WebSocketsSansIOProtocol):
    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass
