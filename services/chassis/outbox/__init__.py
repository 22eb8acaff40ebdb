"""The transactional outbox: what must be written to a database AND published is written once, in one transaction.

`add` puts the event into the caller's transaction, so the event exists exactly when the change does. A `Relay`
publishes it afterwards, at least once: it may die between the acknowledgement and the mark, and then publishes again
under the same event id, which consumers deduplicate by (chassis/inbox.py).
"""

from chassis.outbox.relay import Relay
from chassis.outbox.table import OUTBOX, NewEvent, add, add_async, add_many, add_many_async

__all__ = ["OUTBOX", "NewEvent", "Relay", "add", "add_async", "add_many", "add_many_async"]
