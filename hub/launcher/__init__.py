"""What an editor starts to reach the hub: the Agent Client Protocol on stdin and stdout, kept up for it.

It outlives the hub's restarts, so that the editor does not notice them. Nothing here is imported before it is
needed: an editor starts it for every thread, and waits for its first byte.
"""
