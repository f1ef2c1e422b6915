"""What a user can mend, and the exit codes that launchers act on."""

SOME_FAILED = 1  # not all of it worked; what did is stored, the same command does the rest
BAD_INPUT = 2  # the user's input or configuration is wrong; one line on stderr says what to do
PREEMPTED = 85  # SIGTERM arrived, the state is saved: run the same command again
INTERRUPTED = 130  # Ctrl-C, as shells count it


class InputError(ValueError):
  """Input, file or configuration is wrong; the message is one line that names it and the remedy."""
