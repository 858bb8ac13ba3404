"""Where things are in the online store: the names of its keys.

Every key carries the hash tag of its shard, `{pl:<project>:<shard>/<shards>}`, so that all keys that one script touches
live on one node of a Redis Cluster; the number of shards is part of the tag, so another number is another keyspace.

    <tag>:s:<view>:<definition>:<entity>       HASH  slot -> state (plumbline.state), slot+ -> recent state (state_pieces)
    <tag>:p:<view>:<definition>                HASH  partition -> last offset applied; history -> generation; reach -> instant
    <tag>:c:<source>:<partition>:<bucket>      HASH  event id -> (offset i64, claimed until i64)*
    <tag>:v                                    HASH  token -> changes whenever others than folds write states of the shard
    <tag>:r:<view>:<entity>                    STRING rows of a slowly changing view (plumbline.versions)
"""

import zlib
from dataclasses import dataclass

from plumbline.view_spec import ViewSpec

CLAIM_BUCKETS = 4096
HISTORY, PUSH, REACH = "history", "push", "reach"


@dataclass(frozen=True)
class Keyspace:
    """Keys of one project; `shards` is constant for the life of a store."""

    project: str
    shards: int

    def shard(self, entity: bytes) -> int:
        """The shard of an entity, the same for every view."""
        return zlib.crc32(entity) % self.shards

    def tag(self, shard: int) -> str:
        """The hash tag of a shard: its keys lie on one node of a cluster."""
        return f"{{pl:{self.project}:{shard}/{self.shards}}}"

    def state(self, spec: ViewSpec, entity: bytes) -> bytes:
        """Key of an entity's states of a windowed view."""
        return self.state_prefix(spec, self.shard(entity)) + entity

    def state_prefix(self, spec: ViewSpec, shard: int) -> bytes:
        """What the keys of a view's states in one shard begin with; the entity follows."""
        return self._of_view("s", spec, shard).encode() + b":"

    def positions(self, spec: ViewSpec, shard: int) -> str:
        """Key of what a shard has applied of a view: partition -> offset."""
        return self._of_view("p", spec, shard)

    def revision(self, shard: int) -> str:
        """Key of the token that tells a fold whether others have written states of a shard."""
        return f"{self.tag(shard)}:v"

    def claim_buckets(self, source: str, partition: int) -> list[tuple[int, str]]:
        """Shard and key of each bucket of claims; an id's is that of its CRC-32, modulo their number."""
        shards = [bucket % self.shards for bucket in range(CLAIM_BUCKETS)]
        return [(shard, f"{self.tag(shard)}:c:{source}:{partition}:{bucket}") for bucket, shard in enumerate(shards)]

    def versions(self, view: str, entity: bytes) -> bytes:
        """Key of an entity's rows of a slowly changing view."""
        return f"{self.tag(self.shard(entity))}:r:{view}:".encode() + entity

    def patterns_of_view(self, view: str) -> list[str]:
        """SCAN patterns of everything a view has in the store, whatever its definition was."""
        return [f"{self.every_tag}:{kind}:{_escape(view)}:*" for kind in "spr"]

    @property
    def every_tag(self) -> str:
        """SCAN pattern of all shards' tags."""
        return f"{{pl:{_escape(self.project)}:*}}"

    def _of_view(self, kind: str, spec: ViewSpec, shard: int) -> str:
        return f"{self.tag(shard)}:{kind}:{spec.name}:{spec.definition_hash}"


def _escape(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)
