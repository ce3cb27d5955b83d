"""Worker processes: registered with their agents, heard of, signalled, drained, and lost."""
