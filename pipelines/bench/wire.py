"""What a read says to the store: recorded as it goes out, and said again by plain redis-py, as the floor of that read."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import hiredis
import redis
from redis.connection import AbstractConnection

Command = list[bytes]


def commands_of(read: Callable[[], object]) -> list[Command]:
    """The commands that a read sends over connections of redis-py; raises RuntimeError when it sends none."""
    sent: list[bytes] = []
    send = AbstractConnection.send_packed_command

    def record(connection: AbstractConnection, command: Any, *arguments: Any, **options: Any) -> None:
        sent.extend([command] if isinstance(command, bytes) else command)
        send(connection, command, *arguments, **options)

    with patch.object(AbstractConnection, "send_packed_command", record):
        read()
    reader = hiredis.Reader()
    reader.feed(b"".join(sent))
    commands = []
    while (command := reader.gets()) is not False:
        commands.append(command)
    if not commands:
        raise RuntimeError("The read sent nothing over redis-py; its floor cannot be told.")
    return commands


def raw_read(client: redis.Redis, commands: list[Command]) -> list[Any]:
    """The same commands in one pipeline; the answers as the parser gives them."""
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    return pipe.execute()
