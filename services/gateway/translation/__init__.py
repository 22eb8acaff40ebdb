"""Between the API's JSON and the services' protobuf, a file a case."""
