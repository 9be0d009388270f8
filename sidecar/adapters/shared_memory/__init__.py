"""Files that other processes map into their memory."""
