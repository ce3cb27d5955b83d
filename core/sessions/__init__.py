"""Sessions of editors: a conversation whose turns are tasks, one after the other."""
