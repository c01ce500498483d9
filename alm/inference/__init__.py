"""Pictures of any kind come in, predictions go out; or the network goes out, for another program."""
