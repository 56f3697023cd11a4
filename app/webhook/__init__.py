"""The webhook: what is delivered, and the endpoint that receives it."""
