"""A proxy that speaks the Redis protocol in front of an oblivious map.

The proxy is trusted: it holds the key of a client and sees every key and value. Therefore it runs on the machine of the
application, never on the machine of the card. ``docs/use/redis.md`` lists what is supported, and what an observer
learns from the number of operations.

=======================  ================================================================================
:mod:`.requests`         bytes of a connection to commands, with bounds on everything that a peer can announce
:mod:`.replies`          replies in RESP2 and RESP3
:mod:`.commands`         the table of commands, and what each takes
:mod:`.calls`            one command as it came
:mod:`.strings`          commands about values
:mod:`.times`            commands about expiry
:mod:`.missing`          commands that the proxy does not have, and why
:mod:`.places`           databases and names
:mod:`.plans`            what a command wants from the map
:mod:`.view`             what a command finds and changes, in memory
:mod:`.databases`        name spaces, their generations, and their cells
:mod:`.direct`           plans of the simplest commands, which come most often
:mod:`.scheduler`        runs plans of all connections so that read-modify-write commands are atomic
:mod:`.onepass`          from plans that need one pass to operations, and from their answers to replies
:mod:`.rounds`           what a round of plans that need two passes keeps, and its replies
:mod:`.store`            what the proxy wants of a client of the map
:mod:`.information`      what INFO tells
:mod:`.upkeep`           the register of databases, and what is deleted when its time has come
:mod:`.expiries`         what the proxy set to expire, and when
:mod:`.watches`          who watches which keys
:mod:`.scripts`          EVAL and its kin: Lua scripts, in a process that holds no key
:mod:`.transactions`     MULTI, EXEC, DISCARD, WATCH and UNWATCH
:mod:`.administration`   commands about the connection and the server
:mod:`.session`          state of one connection, and what all share
:mod:`.connection`       one connection: from bytes to replies
:mod:`.guesses`          what is remembered of addresses that gave a wrong password
:mod:`.server`           sockets, limits, orderly end
=======================  ================================================================================
"""
