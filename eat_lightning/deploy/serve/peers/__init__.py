"""Requests and answers of the servers that this gateway can stand in for, one module a server. They
share the queue, the limits and the access control of the native route."""
