"""Every user of every case, judged by slos.yaml. With ramp.py beside it (`-f locustfile.py,ramp.py`) the load rises.

A further case adds its file to cases/ and its line here.
"""

from loadtests import judge  # noqa: F401 - listens: options, verdict, exit status
from loadtests.cases.inference import ModelCaller  # noqa: F401 - Locust finds it here
from loadtests.cases.recommender import Burst, RecommenderCaller, Reporter, Shopper  # noqa: F401
from loadtests.cases.support import Customer, DeskAgent, SupportCaller  # noqa: F401
