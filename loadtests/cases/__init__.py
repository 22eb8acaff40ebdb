"""One file a case: what its clients do. locustfile.py names the users of all of them."""
