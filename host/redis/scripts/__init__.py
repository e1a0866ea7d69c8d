"""EVAL and its kin: Lua scripts, run by a process that holds no key.

==================  ===========================================================================
:mod:`.messages`    what passes between the proxy and that process
:mod:`.sandbox`     the process: Lua 5.1 with what Redis gives to scripts, and nothing else
:mod:`.libraries`   what the libraries ``cjson`` and ``bit`` leave to Python
:mod:`.process`     starts the process, talks to it, and kills it when its time is up
:mod:`.cache`       scripts by their SHA1
:mod:`.plans`       EVAL, EVALSHA, SCRIPT: what each wants from the map
:mod:`.runs`        one run: redis.call on the keys that the command named, and on no other
==================  ===========================================================================

The files in Lua are what stands around a script (``prelude.lua``), and ``cjson`` and ``bit`` (``libraries.lua``).
"""
