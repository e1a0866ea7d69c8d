"""What the host side does to protect keys. Each label has a mark ``SEC_CM`` where the code does it, and a test."""

COUNTERMEASURES: dict[str, str] = {
    "KEY.FILE.OWNER": "A root key file is made and read only if its owner alone can use it, and never overwritten.",
    "RELAY.KEY.ABSENT": "The process of a relay holds no root key and loads no code that derives session keys.",
    "RELAY.SESSION.OWNED": "A relay forwards a record only in a session that was opened on the same connection.",
    "RELAY.RECORD.CHECKED": "A relay copies a record only if its lines fit its type and its operations.",
    "RELAY.INPUT.BOUNDED": "What a relay holds of a client, either way, is bounded whatever the client does.",
    "RELAY.CLIENTS.BOUNDED": "A connection counts against the limit from its start; a crowd of one address makes room.",
    "RELAY.TURNS.SHARED": "Handshakes take turns by address, and none holds up others long, whatever its client sends.",
    "CLIENT.MAP.REMEMBERED": "A client refuses another map than it, or its witness file, knows, until told to take it.",
    "CLIENT.WITNESS.DEFAULT": "Commands and proxy keep a witness file unless they are told not to.",
    "CLIENT.OPERATION.RISES": "Operation numbers rise from answer to answer, or the client reports a rollback.",
    "CLIENT.REFUSAL.DOUBTED": "A refusal proves nothing: the client reports an unknown fate, not that nothing ran.",
    "CLIENT.FAULT.LATCH": "After tampering a client hangs up and refuses all further work.",
    "CLIENT.RATE.CONSTANT": "At a constant rate as many records leave as the clock says, whatever there is to do.",
    "REDIS.AUTH.CONST_TIME": "The proxy compares passwords in a time that does not depend on how far they agree.",
    "REDIS.AUTH.SLOWED": "Wrong passwords make the next from their address wait longer, whatever the connections.",
    "REDIS.IDLE.CLOSED": "Peers that do nothing, take no replies or give no password lose their place at the proxy.",
    "REDIS.INPUT.BOUNDED": "No peer of the proxy can make it hold more than one command of bounded length.",
    "REDIS.KEY.VERIFIED": "The proxy returns a value only if the cell holds the long key that was asked for.",
    "REDIS.LISTEN.GUARDED": "The proxy listens beyond its own machine only if it asks for a password.",
    "REDIS.OPS.FIXED": "How many operations a Redis command takes follows from its words, not from what is found.",
    "REDIS.SCRIPT.BOUNDED": "Steps, time, memory, keys and reply of a script are bounded, whatever it catches.",
    "REDIS.SCRIPT.SANDBOXED": "Lua runs in a process without key and files, and reaches the keys of its command alone.",
    "REDIS.SELECT.OBEYED": "After a SELECT that failed, the proxy runs nothing in another database than was asked for.",
    "REDIS.WAIT.KEYLESS": "Commands of the proxy wait for each other by kind; equal keys change nothing.",
}
"""Label to promise."""
