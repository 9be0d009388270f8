"""Facts: what signals say of users, devices and sessions, and which of them count."""
