"""Bodies of AuthZEN calls."""

ONE, MANY = "/access/v1/evaluation", "/access/v1/evaluations"
HOLDER = {"type": "user", "id": "u1", "properties": {"token": "s1"}}
ACTION = {"name": "POST"}
