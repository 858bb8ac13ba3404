"""KAFKA_BOOTSTRAP_SERVERS: `host:port,...`, and after them how to be let in, as kafka-python names its options.

    broker-1:9093,broker-2:9093,security_protocol=SASL_SSL,sasl_mechanism=SCRAM-SHA-512,sasl_plain_username=me,
    sasl_plain_password=secret,ssl_cafile=/path/ca.pem

A value has no comma. All files are PEM.
"""

from pathlib import Path
from typing import Any

OPTIONS = (
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_check_hostname",
)
LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
SECRETS = frozenset({"sasl_plain_password"})


def client_options(address: str) -> dict[str, Any]:
    """What kafka-python's clients take: bootstrap_servers, and the options that the address names."""
    servers, options = _parts(address)
    checks = {"ssl_check_hostname": options["ssl_check_hostname"] == "true"} if "ssl_check_hostname" in options else {}
    return {"bootstrap_servers": servers, **options, **checks}


def spark_options(address: str) -> dict[str, str]:
    """The same for Spark's Kafka source, in the words of the Java client (Apache Kafka, Security, 'PEM' stores of KIP-651)."""
    servers, options = _parts(address)
    java = {"bootstrap.servers": ",".join(servers)}
    if "security_protocol" in options:
        java["security.protocol"] = options["security_protocol"]
    if "sasl_mechanism" in options:
        java["sasl.mechanism"] = options["sasl_mechanism"]
        name, password = options.get("sasl_plain_username", ""), options.get("sasl_plain_password", "")
        module = LOGIN_MODULES[options["sasl_mechanism"]]
        java["sasl.jaas.config"] = f"{module} required username={_quoted(name)} password={_quoted(password)};"
    if "ssl_cafile" in options:
        java |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": options["ssl_cafile"]}
    if "ssl_certfile" in options:
        chain, key = (Path(options[name]).read_text() for name in ("ssl_certfile", "ssl_keyfile"))
        java |= {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": chain, "ssl.keystore.key": key}
    if options.get("ssl_check_hostname") == "false":
        java["ssl.endpoint.identification.algorithm"] = ""
    return {f"kafka.{name}": value for name, value in java.items()}


def hosts(address: str) -> str:
    """The hosts alone, which may be printed."""
    return ",".join(_parts(address)[0])


def secrets(address: str) -> list[str]:
    """Every text of the address that must not be printed."""
    return [value for name, value in _parts(address)[1].items() if name in SECRETS]


def check(address: str) -> None:
    """Raise ValueError, which repeats no value, for what no client could use."""
    servers, options = _parts(address)
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown or not servers:
        what = f"has an option {unknown[0]!r}" if unknown else "names no host:port"
        raise ValueError(
            f"KAFKA_BOOTSTRAP_SERVERS {what}; it is host:port,..., then any of {', '.join(OPTIONS)} as name=value."
        )
    if options.get("sasl_mechanism", "PLAIN") not in LOGIN_MODULES:
        raise ValueError(f"KAFKA_BOOTSTRAP_SERVERS: sasl_mechanism is one of {', '.join(LOGIN_MODULES)}.")
    if ("ssl_certfile" in options) != ("ssl_keyfile" in options):
        raise ValueError("KAFKA_BOOTSTRAP_SERVERS: ssl_certfile and ssl_keyfile go together.")


def _parts(address: str) -> tuple[list[str], dict[str, str]]:
    parts = [part.strip() for part in address.split(",") if part.strip()]
    named = [part.partition("=") for part in parts if "=" in part]
    return [part for part in parts if "=" not in part], {name.strip(): value.strip() for name, _, value in named}


def _quoted(text: str) -> str:
    """As a JAAS configuration writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
