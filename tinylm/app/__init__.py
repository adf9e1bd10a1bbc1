"""Floor 8, the command line: cli.py reads it, commands/ has one file for each command."""
