"""The other end: a stub of the DCC's systems that asks, carries and keeps the story.

`requests` and `controls` decide what may run and when (pure), `lifecycle` how a request goes on (pure
tables), `carriage` how an errand reaches a hub (pure), `store` with `tables`, `rows` and `records`
remembers, `desk` and `ledger` do the bookkeeping, `csp` and `dsp` are the pumps, `door` and `client` the way
in. Nothing here knows the hub's inside: they meet in `hub.messages`.
"""
