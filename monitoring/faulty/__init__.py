"""A real server whose model goes wrong when it is told to: what the drill and the walk look at."""
