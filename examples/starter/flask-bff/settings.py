"""The app's own entry at the provider: a client with this app's /callback as redirect URI."""

ISSUER = "https://login.example.com"
CLIENT_ID = "payroll"
SCOPE = "openid"
PARAMETERS: dict[str, str] = {}
"""What your provider needs besides, such as {"audience": "..."} or {"resource": "..."}."""
URL = "http://127.0.0.1:8080"
"""Where browsers find this app, without a slash at the end."""
