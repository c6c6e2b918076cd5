"""The gateway: requests in, answers out as soon as each is there, and nothing without a bound."""
