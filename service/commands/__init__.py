"""The commands of `basereward`: each parses its own flags and returns an exit code."""
