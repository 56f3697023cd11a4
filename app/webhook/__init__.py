"""The webhook: the delivery of events, and the endpoint that receives them."""
