"""The `casebook` command: the embedded infrastructure, the supervisor, and the operator's tools."""
