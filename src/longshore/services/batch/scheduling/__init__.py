"""Where jobs go, and what is launched for them. Pure: a snapshot in, decisions and reasons out."""
