"""Load on a running Casebook, and what it says about it. README.md says how to run it."""
