"""gRPC, both sides: what every call gets without its author thinking of it."""

from chassis.rpc.client import connect
from chassis.rpc.deadline import remaining_seconds
from chassis.rpc.server import create_server, listen

__all__ = ["connect", "create_server", "listen", "remaining_seconds"]
