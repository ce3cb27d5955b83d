"""What an editor starts to reach the hub over stdio: a bridge to `/acp` that outlives the hub's restarts."""
