"""The HTTP edge: the REST API, API keys, rate limits and idempotency keys in front of the services' gRPC."""
