"""What every service shares: settings, telemetry, gRPC server and client, Kafka, outbox, identity, errors, health."""
