"""The signature of an event: who sends a body, and when.

Signed as the Standard Webhooks specification 1.0.0 says (https://www.standardwebhooks.com).
"""

import base64
import hashlib
import hmac
from datetime import datetime


def signed(secret: bytes, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that prove who sends a body, and when."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
