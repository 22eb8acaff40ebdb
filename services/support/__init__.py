"""Case 2: smart support. Answers with a source, asks back, says that it does not know, or hands over to a person."""

import os

# Before NumPy is loaded. A question's few products take microseconds; shared between threads they wait for each other:
# 18 ms in place of 1 for 10,000 rows on two busy cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
