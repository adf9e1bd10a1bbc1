"""The command line: cli.py lists options, options.py reads them, commands.py and words.py act."""
