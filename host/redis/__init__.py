"""A proxy that speaks the Redis protocol in front of an oblivious map.

The proxy is trusted: it holds the root key and sees every key and value. Therefore it runs on the machine of the
application, never on the machine of the card. ``docs/use/redis.md`` lists what is supported, and what an observer
learns from the number of operations.

=====================  ==================================================================================
:mod:`.requests`       bytes of a connection to commands, with bounds on everything that a peer can announce
:mod:`.replies`        replies in RESP2 and RESP3
:mod:`.plans`          commands to map operations, whose number never depends on what is found
:mod:`.commands`       the table of commands
:mod:`.scheduler`      runs plans of all connections so that read-modify-write commands are atomic
:mod:`.guesses`        what is remembered of addresses that gave a wrong password
:mod:`.connection`     one connection: its protocol version, authentication and name
:mod:`.server`         sockets, limits, orderly end
=====================  ==================================================================================
"""
