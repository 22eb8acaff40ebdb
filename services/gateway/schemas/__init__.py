"""The API's requests and answers, a file a case, each with its bounds: nothing passes that a service would refuse."""
