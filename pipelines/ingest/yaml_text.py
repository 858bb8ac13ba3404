"""YAML read as text: every scalar stays what was written (NO is Norway), a key that stands twice is an error."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pipelines.ingest.refusals import LoadRefused

PLAIN_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


class _TextLoader(yaml.BaseLoader):
    """Builds only str, list and dict; the base loader resolves no types and runs no constructors."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in PLAIN_TAGS:
            raise yaml.MarkedYAMLError(None, None, f"a tag ({node.tag}) is not read here", node.start_mark)
        return super().construct_object(node, deep=True)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key must be a plain word", key_node.start_mark)
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key '{key_node.value}' stands twice", key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=True)


def read_yaml_text(path: Path) -> dict[str, Any]:
    """The YAML object in `path`: str keys; values are str, list or dict of the same.

    Raises LoadRefused when the file cannot be read, is not UTF-8, not one YAML object, uses tags, or has a key twice.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8-sig"), _TextLoader)
    except OSError as error:
        raise LoadRefused(f"The mapping {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise LoadRefused(f"The mapping {path} is not UTF-8 text (byte {error.start}).") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise LoadRefused(f"The mapping {path} cannot be read as YAML: {_where(error)}.") from error
    if not isinstance(document, dict):
        raise LoadRefused(f"The mapping {path} is not a YAML object (`column: rule` lines).")
    return document


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split()) or type(error).__name__
    return f"{problem}, line {mark.line + 1}" if mark else problem
