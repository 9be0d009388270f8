"""The store and its news, over Redis or Valkey."""
