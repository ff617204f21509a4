"""Protocol classes for uvicorn.

uvicorn app:app --ws fanwise.protocol:FanwiseProtocol --http fanwise.protocol:FanwiseHttpProtocol
"""

from __future__ import annotations

from .transport.http_protocol import FanwiseHttpProtocol
from .transport.websocket_protocol import FanwiseProtocol

__all__ = ["FanwiseHttpProtocol", "FanwiseProtocol"]
