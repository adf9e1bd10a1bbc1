"""Floor 8, the command line: cli.py parses each command, options.py its values, commands.py runs it."""
