"""Of the package; the protocol has versions of its own."""
VERSION = "0.1.0"
