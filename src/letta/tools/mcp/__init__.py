"""Tools that live on servers of the Model Context Protocol: connections, listings, calls, sign-ins.

Only `sdk`, `sdk_sign_in` and `judge` know the protocol's library; `loader` imports them when a first server is used.
"""
