"""Commands of Redis that the proxy does not have, and why. It refuses them before anything ran."""

_DOCS = "; docs/use/redis.md says why, and what works"
_NO_LIST = "an oblivious map can't list its keys" + _DOCS
_NO_TYPE = "a key holds one value, because the length of a collection would show" + _DOCS
_NO_MESSAGES = "the proxy passes on no messages" + _DOCS
_NO_COPY = "the proxy keeps no data of its own, which could be saved or copied" + _DOCS

_NAMES = {
    _NO_LIST: "keys scan randomkey",
    _NO_TYPE: """
        lpush rpush lpushx rpushx lpop rpop llen lrange lrem lset ltrim lindex linsert lpos
        blpop brpop blmove brpoplpush rpoplpush lmove lmpop blmpop
        hset hget hgetall hdel hexists hincrby hincrbyfloat hkeys hvals hlen hmget hmset hsetnx hscan hstrlen hrandfield
        sadd srem smembers sismember smismember scard spop srandmember smove sscan
        sinter sunion sdiff sinterstore sunionstore sdiffstore sintercard
        zadd zrem zrange zrangebyscore zrevrange zrevrangebyscore zrangebylex zrevrangebylex zrank zrevrank zcard
        zscore zmscore zcount zlexcount zincrby zpopmin zpopmax bzpopmin bzpopmax zmpop bzmpop zscan zrandmember
        zremrangebyscore zremrangebyrank zremrangebylex zinter zunion zdiff zunionstore zinterstore zdiffstore
        zrangestore zintercard sort sort_ro
        xadd xread xreadgroup xrange xrevrange xlen xack xgroup xdel xtrim xinfo xpending xclaim xautoclaim xsetid
        geoadd geosearch geosearchstore geopos geodist geohash
        georadius georadius_ro georadiusbymember georadiusbymember_ro pfadd pfcount pfmerge pfdebug pfselftest
    """,
    _NO_MESSAGES: "subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe publish spublish pubsub",
    _NO_COPY: "save bgsave bgrewriteaof lastsave dump restore replicaof slaveof psync sync",
    "the proxy shows nobody the commands of others" + _DOCS: "monitor slowlog",
    "databases can't be exchanged" + _DOCS: "swapdb",
    "the proxy works on texts and numbers, not on bits" + _DOCS: """
        setbit getbit bitcount bitpos bitfield bitfield_ro bitop
    """,
    "the proxy does not compare values with each other" + _DOCS: "lcs",
    "the proxy keeps scripts, no functions" + _DOCS: "function fcall fcall_ro",
    "the proxy is one server, without others beside it" + _DOCS: """
        cluster asking readonly readwrite failover migrate replconf restore-asking
    """,
    "the proxy has one password and no users" + _DOCS: "acl",
    "the proxy can't be managed by its clients" + _DOCS: """
        debug latency lolwut memory module object shutdown
    """,
}

WHY_NOT: dict[str, str] = {name: why for why, names in _NAMES.items() for name in names.split()}
"""Name of a command to the reason."""
