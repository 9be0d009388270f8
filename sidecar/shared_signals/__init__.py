"""The OpenID Shared Signals Framework, in and out."""
