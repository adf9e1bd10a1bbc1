"""Floor 8: the command line. cli.py says what each command accepts, commands.py what it does."""
