"""The command `cmc`: one command, one file."""
