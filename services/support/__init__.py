"""Case 2: smart support. Answers with a source, asks back, says that it does not know, or hands over to a person."""
