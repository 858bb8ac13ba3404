"""The connection to Redis or Valkey, and the scripts that compare and write in one step."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

KEYS_A_PIPELINE = 2_000
CREDENTIALS = ("username", "password")

COMMIT = """
local n, last = tonumber(ARGV[1]), #KEYS
if ARGV[2] ~= '' then last = last - 1 end
local arg = 3
for i = 1, n do
  local current = redis.call('HGET', KEYS[i], ARGV[arg]) or ''
  if current ~= ARGV[arg + 1] then return 'position' end
  arg = arg + 3
end
local first_state = arg
for i = n + 1, last do
  local current = redis.call('HGET', KEYS[i], ARGV[arg])
  if (current and string.sub(current, 1, 16) or '') ~= ARGV[arg + 1] then return 'state' end
  arg = arg + 3
end
arg = first_state
for i = n + 1, last do
  if ARGV[arg + 2] == '' then redis.call('HDEL', KEYS[i], ARGV[arg])
  else redis.call('HSET', KEYS[i], ARGV[arg], ARGV[arg + 2]) end
  arg = arg + 3
end
arg = 3
for i = 1, n do
  if ARGV[arg + 2] == '' then redis.call('HDEL', KEYS[i], ARGV[arg])
  else redis.call('HSET', KEYS[i], ARGV[arg], ARGV[arg + 2]) end
  arg = arg + 3
end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[#KEYS], 'token', ARGV[2]) end
return 'ok'
"""
"""Positions are compared, then the stamps (first 16 bytes) of states; only if all are as expected is anything written.

Where states are written that a fold writes too, the last key is the shard's revision and takes the second argument.
"""

SWAP = """
local current = redis.call('GET', KEYS[1])
if (current and string.sub(current, 1, 12) or '') ~= ARGV[1] then return 'changed' end
redis.call('SET', KEYS[1], ARGV[2])
return 'ok'
"""


INSTALL = """
local installed, differing = {}, {}
local arg = 2
for i = 1, #KEYS - 1 do
  local n = tonumber(ARGV[arg])
  local known = redis.call('HLEN', KEYS[i])
  if known == 0 then
    redis.call('HSET', KEYS[i], unpack(ARGV, arg + 1, arg + 2 * n))
    installed[#installed + 1] = i
  else
    local same = known == n
    for slot = arg + 1, arg + 2 * n, 2 do same = same and redis.call('HGET', KEYS[i], ARGV[slot]) == ARGV[slot + 1] end
    if not same then differing[#differing + 1] = i end
  end
  arg = arg + 1 + 2 * n
end
if #installed > 0 then redis.call('HSET', KEYS[#KEYS], 'token', ARGV[1]) end
return {installed, differing}
"""
"""Each key takes its slots where it has none yet: which keys (from 1) those are, and which hold something else and keep it.

The last key is the shard's revision and takes the first argument when states were installed.
"""


class StoreUnavailable(ConnectionError):
    """The online store did not answer; nothing is known to have been written."""


@dataclass(frozen=True)
class StoreAddress:
    """Where the store is, in the words of WindowedOnlineStoreConfig; the connection string may hold a password."""

    connection_string: str = field(repr=False)
    redis_type: str


class PositionMove(NamedTuple):
    """A field of a positions hash: what it must hold and what it shall hold (empty: nothing)."""

    key: str
    field: str
    expected: str
    new: str


class StateWrite(NamedTuple):
    """A slot of an entity's states: the stamp it must have (empty: none) and its new bytes (empty: removed)."""

    key: bytes
    slot: str
    expected_stamp: bytes
    new: bytes


Commit = tuple[Sequence[PositionMove], Sequence[StateWrite]]
"""What is compared and written in one step; all its keys share a shard."""


class StoreClient:
    """Batched commands; every call raises StoreUnavailable when the store is away."""

    def __init__(self, address: StoreAddress, timeout_ms: int) -> None:
        self._address, self._timeout_ms = address, timeout_ms
        self._redis: Any = _connect(address, timeout_ms)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process: a client of the same store, with a connection of its own."""
        return StoreClient, (self._address, self._timeout_ms)

    def pipeline(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Run commands like ('HGETALL', key), answers in order; long lists go in several round trips.

        Answers are as the server gives them: as_dict reads that of HGETALL. Raises redis.ResponseError for the first command
        that the server refuses.
        """
        listed = list(commands)
        answers: list[Any] = []
        for start in range(0, len(listed), KEYS_A_PIPELINE):
            answers += self._guarded(partial(self._run, listed[start : start + KEYS_A_PIPELINE]))
        return answers

    def commit(self, commits: Sequence[Commit], revisions: Sequence[str] = ()) -> list[str]:
        """Compare and write, one script a commit (whose keys share a shard): 'ok', 'position' or 'state' for each.

        revisions  where states are written that a fold writes too: the key of the revision of each commit's shard
        """
        calls = []
        for (moves, writes), revision in zip(commits, revisions or [""] * len(commits), strict=True):
            keys = [*(move.key for move in moves), *(write.key for write in writes)]
            calls.append((keys + [revision] * bool(revision), _arguments(moves, writes, new_revision() if revision else b"")))
        return [answer.decode() for answer in self.scripts(COMMIT, calls)]

    def scripts(self, script: str, calls: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[Any]:
        """Run one script with each (keys, arguments), pipelined; loads it where the server does not know it."""
        if not calls:
            return []
        return self._guarded(lambda: self._run_scripts(script, calls))

    def scan(self, pattern: str) -> Iterable[bytes]:
        """Keys that match, each node asked."""
        return self._guarded(lambda: list(self._redis.scan_iter(match=pattern, count=1_000)))

    def delete(self, keys: Sequence[bytes]) -> None:
        """Remove keys."""
        self.pipeline([("UNLINK", key) for key in keys])

    def _run(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        return _without_errors(self._exchanged(commands))

    def _run_scripts(self, script: str, calls: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[Any]:
        digest = _digest(script)
        answers: list[Any] = [None] * len(calls)
        pending = list(range(len(calls)))
        for _ in range(2):
            commands = [("EVALSHA", digest, len(calls[n][0]), *calls[n][0], *calls[n][1]) for n in pending]
            for number, answer in zip(pending, self._exchanged(commands), strict=True):
                answers[number] = answer
            pending = [number for number in pending if isinstance(answers[number], NoScriptError)]
            if not pending:
                break
            self._redis.script_load(script)
        return _without_errors(answers)

    def _exchanged(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers to commands sent together; an error of one command is its answer.

        A pipeline of redis-py looks for what to make of each answer, by its command, which takes longer than to read it.
        """
        if self._address.redis_type == "redis_cluster":
            pipe = self._redis.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return list(pipe.execute(raise_on_error=False))
        pool = self._redis.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            return [_answer(connection) for _ in commands]
        except BaseException:
            connection.disconnect()  # who has it next must not read what was meant for us
            raise
        finally:
            pool.release(connection)

    @staticmethod
    def _guarded(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError) as error:
            raise StoreUnavailable(
                f"The online store does not answer ({error}); check `make status`, start it with `make up`."
            ) from error


def as_dict(answer: Any) -> dict[bytes, bytes]:
    """HGETALL's answer, which is a flat list of names and values, or a dict where redis-py made one of it."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _without_errors(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):  # of a cluster also that a node is away
            raise answer
    return answers


@cache
def _digest(script: str) -> str:
    """The server's name for a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _connect(address: StoreAddress, timeout_ms: int) -> Any:
    """A client without hidden retries: redis-py retries for seconds by default."""
    options, nodes = _parse(address.connection_string)
    options |= {
        "socket_timeout": timeout_ms / 1000,
        "socket_connect_timeout": min(timeout_ms, 500) / 1000,
        "retry": Retry(NoBackoff(), 0),
    }
    if address.redis_type == "redis_cluster":
        startup = [redis.cluster.ClusterNode(host, int(port)) for host, port in nodes]
        return redis.RedisCluster(startup_nodes=startup, **options)
    host, port = nodes[0]
    return redis.Redis(host=host, port=int(port), **options)


def _parse(connection_string: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Feast's form: host:port[,host:port...][,option=value...]; values are JSON where they can be read as such.

    A user name and a password are taken as they are written, also one of digits.
    """
    options: dict[str, Any] = {}
    nodes: list[tuple[str, str]] = []
    for part in connection_string.split(","):
        name, is_option, value = part.partition("=")
        if name in CREDENTIALS:
            options[name] = value
        elif is_option:
            try:
                options[name] = json.loads(value)
            except json.JSONDecodeError:
                options[name] = value
        else:
            host, _, port = part.strip().rpartition(":")
            nodes.append((host, port))
    return options, nodes


def new_revision() -> bytes:
    """What a shard's revision becomes: something that it never was."""
    return secrets.token_bytes(8)


def _arguments(moves: Sequence[PositionMove], writes: Sequence[StateWrite], revision: bytes) -> list[Any]:
    """What COMMIT takes: the number of positions, the new revision (empty: none), then three arguments a key."""
    of_moves = [part for move in moves for part in (move.field, move.expected, move.new)]
    of_writes = [part for write in writes for part in (write.slot, write.expected_stamp, write.new)]
    return [len(moves), revision, *of_moves, *of_writes]
