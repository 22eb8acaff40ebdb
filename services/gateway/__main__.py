"""`python -m gateway serve | migrate | bootstrap`."""

from functools import partial

from chassis import processes
from chassis.process import main
from gateway import audit
from gateway.processes import bootstrap, serve
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    migrate = partial(processes.migrate, append_only=audit.TABLES)
    main("gateway", GatewaySettings, {"serve": serve, "migrate": migrate, "bootstrap": bootstrap})
