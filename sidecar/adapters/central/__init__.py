"""The central listener, for gateways that ask a Service and not their own pod."""
