"""`python -m gateway serve | migrate | bootstrap`."""

from chassis.process import main
from gateway.processes import bootstrap, migrate, serve
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    main("gateway", GatewaySettings, {"serve": serve, "migrate": migrate, "bootstrap": bootstrap})
