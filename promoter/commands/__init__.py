"""The use-cases, a verb each: what a command line, a pipeline and the receiver call."""
